/** The style of the pages of events. */
export const eventsStyle = `
.scan { display: grid; gap: .5rem; padding: .75rem 1rem; border-bottom: 1px solid var(--line) }
.letter a { text-decoration: underline; text-underline-offset: .18em }
.trace, .trace ul { display: grid; gap: .35rem; grid-template-columns: minmax(0, 1fr) }
.trace ul { margin: .35rem 0 0 .55rem; padding-left: 1rem; border-left: 2px solid var(--line) }
.trace .node { display: flex; flex-wrap: wrap; gap: .15rem .7rem; align-items: baseline; padding: .3rem .55rem; border-radius: 8px; overflow-wrap: anywhere; min-width: 0 }
.trace .node > * { min-width: 0 }
.trace .node.here { background: var(--accent-soft) }
.trace .node a { font-weight: 580 }
.trace .reached { display: inline-flex; flex-wrap: wrap; gap: .3rem }
`
