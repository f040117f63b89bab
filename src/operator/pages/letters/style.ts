/** The style of the pages of dead letters. */
export const lettersStyle = `
.error-text { color: var(--bad); font-family: var(--mono); font-size: .9em; overflow-wrap: anywhere }
a .error-text { text-decoration: underline; text-decoration-color: color-mix(in srgb, currentColor 30%, transparent); text-underline-offset: .2em }
pre.error-text { padding: .7rem .85rem; border-radius: 8px; background: var(--bad-soft); max-height: 18rem; overflow: auto }
pre.stack { padding: .7rem .85rem; border-radius: 8px; background: var(--raised); max-height: 24rem; overflow: auto; font-size: .82rem }
.columns { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); align-items: start }
.stack-of-cards { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr) }
.table .main .error-text { font-weight: 500 }
main p a:not(.button), .jobs a, .steps a { text-decoration: underline; text-underline-offset: .18em }
.filtering { display: grid; gap: .35rem }
.fields { display: grid; gap: .75rem 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 12rem), 1fr)); width: 100%; max-width: 60rem }
@media (min-width: 641px) { .head .verbs { justify-content: flex-end } }
.jobs { display: grid; gap: .6rem }
.jobs progress { display: block; margin-top: .3rem }
.tree { font-family: var(--mono); font-size: .88rem; overflow-wrap: anywhere; max-height: 70vh; overflow: auto }
.tree ul { padding-left: 1.1rem; border-left: 1px solid var(--line); margin-left: .3rem }
.tree li { padding: .1rem 0 }
.tree summary { cursor: pointer }
.json-key { color: var(--quiet) }
.json-key::after { content: ':' }
.json-text { color: var(--good); white-space: pre-wrap }
.json-value { color: var(--accent) }
.json-size, .json-empty, .json-rest { color: var(--quiet) }
.diff { padding: .8rem 1rem; font-size: .9rem }
.diff del, .diff ins { display: block; text-decoration: none; padding: .05rem .4rem; border-radius: 4px }
.diff del { background: var(--bad-soft); color: var(--bad) }
.diff ins { background: var(--good-soft); color: var(--good) }
.steps { display: grid; gap: .6rem }
.steps li { padding-left: 1.9rem; position: relative }
.steps li::before { position: absolute; left: 0; top: 0; width: 1.35rem; height: 1.35rem; border-radius: 50%; display: grid; place-items: center; font-size: .8rem; font-weight: 700; background: var(--raised); color: var(--quiet); content: '·' }
.steps .good::before { background: var(--good-soft); color: var(--good); content: '✓' }
.steps .bad::before { background: var(--bad-soft); color: var(--bad); content: '!' }
.steps .warn::before { background: var(--warn-soft); color: var(--warn); content: '!' }
.steps .wait::before { background: var(--accent-soft); color: var(--accent); content: '…' }
main p, h1, dt, .trail, .steps li, .callout { overflow-wrap: anywhere }
@media (min-width: 641px) { .card .facts { grid-template-columns: fit-content(12rem) minmax(0, 1fr) } }
.capital::first-letter { text-transform: uppercase }
`
