/** The style of the frame, of tables, forms and cards. */
export const style = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#f5f6fa, #0f1117);
  --surface: light-dark(#ffffff, #171a23);
  --raised: light-dark(#f0f2f8, #1f2330);
  --line: light-dark(#dfe2ec, #2b3040);
  --text: light-dark(#171a24, #e6e8f0);
  --quiet: light-dark(#565d73, #9aa2b8);
  --accent: light-dark(#3346b8, #9cadff);
  --accent-soft: light-dark(#e8ebff, #232a4d);
  --on-accent: light-dark(#ffffff, #10142b);
  --good: light-dark(#13713f, #5fd699);
  --good-soft: light-dark(#e1f5ea, #14301f);
  --warn: light-dark(#8a5300, #f3bc5e);
  --warn-soft: light-dark(#fff2d9, #37290d);
  --bad: light-dark(#b3231f, #ff9088);
  --bad-soft: light-dark(#fde8e7, #3d1816);
  --bad-strong: light-dark(#b3231f, #e5564f);
  --shadow: light-dark(0 1px 2px rgb(24 28 48 / .05), 0 1px 2px rgb(0 0 0 / .35));
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  --round: 10px;
}
*, *::before, *::after { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
a { color: var(--accent); text-decoration: none }
a:hover { text-decoration: underline; text-underline-offset: .18em }
:focus-visible { outline: 2.5px solid var(--accent); outline-offset: 2px; border-radius: 5px }
main:focus { outline: none }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0; letter-spacing: -.015em; font-weight: 650 }
h2 { font-size: 1.02rem; margin: 0; font-weight: 620; letter-spacing: -.005em }
p { margin: 0 }
code, pre, kbd, .mono { font-family: var(--mono); font-size: .9em }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 2 }
kbd { border: 1px solid var(--line); border-bottom-width: 2px; border-radius: 5px; padding: 0 .4em; background: var(--surface) }
ul, ol, dl { margin: 0; padding: 0; list-style: none }
dd { margin: 0 }
.hidden { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
.skip { position: absolute; left: -999rem; top: .4rem; z-index: 9; padding: .5rem .8rem; background: var(--surface); border-radius: 8px }
.skip:focus { left: .6rem }
.quiet, .none { color: var(--quiet) }
.small { font-size: .87rem }
.lead { font-size: 1.05rem; max-width: 62ch; overflow-wrap: anywhere }

/* The top */
.bar { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; padding: .6rem max(1.25rem, calc(50vw - 640px)); background: var(--surface); border-bottom: 1px solid var(--line) }
.brand { display: inline-flex; align-items: center; gap: .5rem; font-weight: 680; letter-spacing: -.015em; color: var(--text) }
.brand:hover { text-decoration: none }
.brand svg { width: 1.5rem; height: 1.5rem; flex: none }
.buses ul { display: flex; flex-wrap: wrap; gap: .15rem; padding: .15rem; background: var(--raised); border-radius: 9px }
.buses a { display: block; padding: .15rem .7rem; border-radius: 7px; color: var(--quiet) }
.buses a[aria-current] { background: var(--surface); color: var(--text); font-weight: 560; box-shadow: var(--shadow) }
.environment { padding: .1rem .6rem; border-radius: 99px; font-size: .8rem; font-weight: 600; background: var(--accent-soft); color: var(--accent) }
.environment.production { background: var(--bad-soft); color: var(--bad) }
.search { flex: 1 1 12rem; max-width: 28rem; min-width: 9rem }
.search input { width: 100% }
.health { display: inline-flex; align-items: center; gap: .45rem; font-size: .87rem; color: var(--quiet); margin-left: auto; white-space: nowrap }
.dot { width: .6rem; height: .6rem; border-radius: 50%; background: var(--quiet); flex: none }
.health.ok .dot { background: var(--good) }
.health.away { color: var(--bad); font-weight: 600 }
.health.away .dot { background: var(--bad) }
.viewer { font-size: .87rem; color: var(--quiet); padding-left: .9rem; border-left: 1px solid var(--line); white-space: nowrap; max-width: 14rem; overflow: hidden; text-overflow: ellipsis }
.sections { background: var(--surface); border-bottom: 1px solid var(--line); padding: 0 max(.5rem, calc(50vw - 652px)) }
.sections ul { display: flex; gap: .1rem; overflow-x: auto; scrollbar-width: none }
.sections a { display: block; padding: .62rem .75rem .52rem; color: var(--quiet); border-bottom: 2.5px solid transparent; white-space: nowrap }
.sections a:hover { color: var(--text); text-decoration: none }
.sections a:focus-visible { outline-offset: -3px }
.sections a[aria-current] { color: var(--text); font-weight: 600; border-color: var(--accent) }
.count { margin-left: .35rem; padding: .02rem .4rem; font-size: .78rem; border-radius: 99px; background: var(--bad-soft); color: var(--bad); font-weight: 600 }
main { max-width: 1320px; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr) }
footer { max-width: 1320px; margin: 0 auto; padding: 0 1.25rem 2rem; color: var(--quiet); font-size: .85rem }
footer .keys { display: none }
.scripted footer .keys { display: inline }
.head { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: center; justify-content: space-between }
.head > div { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center }
.trail { font-size: .87rem; color: var(--quiet); margin-bottom: -.75rem }
.trail a::before { content: '‹ '; color: var(--quiet) }

/* Cards, tiles, notices */
.card { background: var(--surface); border: 1px solid var(--line); border-radius: var(--round); box-shadow: var(--shadow); overflow: clip }
.card > header { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline; justify-content: space-between; padding: .8rem 1rem .7rem; border-bottom: 1px solid var(--line) }
.card > .body { padding: 1rem; display: grid; gap: .9rem; grid-template-columns: minmax(0, 1fr) }
.cards { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); align-items: start }
.tiles { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 10.5rem), 1fr)) }
.tile { display: grid; gap: .1rem; align-content: start; padding: .8rem 1rem; background: var(--surface); border: 1px solid var(--line); border-radius: var(--round); box-shadow: var(--shadow); color: inherit }
a.tile:hover { border-color: var(--accent); text-decoration: none }
.tile dt, .tile .label { font-size: .83rem; color: var(--quiet) }
.tile dd, .tile .value { font-size: 1.6rem; line-height: 1.2; font-weight: 640; letter-spacing: -.02em; overflow-wrap: anywhere }
.tile .note { font-size: .83rem; color: var(--quiet) }
.tile .spark { grid-area: 1 / 2 / 4 / 3; align-self: center; width: 6.5rem }
.tile.bad .value { color: var(--bad) }
.tile.warn .value { color: var(--warn) }
.notice { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline; padding: .7rem 1rem; border-top: 1px solid var(--line); overflow-wrap: anywhere }
.notice:first-child { border-top: 0 }
.notice .dot { align-self: center; background: var(--bad); box-shadow: 0 0 0 4px var(--bad-soft) }
.notice.warn .dot { background: var(--warn); box-shadow: 0 0 0 4px var(--warn-soft) }
.notice .what { flex: 1 1 16rem; min-width: 0 }
.outcome, .callout { display: flex; flex-wrap: wrap; gap: .3rem .9rem; align-items: center; padding: .65rem .9rem; border-radius: var(--round); border: 1px solid var(--line); border-left: 4px solid var(--quiet); background: var(--surface); overflow-wrap: anywhere }
.notice .go { margin-left: auto; font-weight: 560; white-space: nowrap }
.outcome.bad, .callout.bad { border-left-color: var(--bad); background: var(--bad-soft); border-color: transparent; border-left: 4px solid var(--bad) }
.callout.warn { background: var(--warn-soft); border-color: transparent; border-left: 4px solid var(--warn) }
.outcome.good, .callout.good { background: var(--good-soft); border-color: transparent; border-left: 4px solid var(--good) }
.empty { padding: 2.5rem 1.25rem; text-align: center; color: var(--quiet); display: grid; gap: .4rem; justify-items: center }
.empty strong { color: var(--text); font-size: 1.05rem; font-weight: 600 }
.badge { display: inline-flex; align-items: center; gap: .35rem; padding: .06rem .55rem; border-radius: 99px; font-size: .83rem; font-weight: 560; background: var(--raised); color: var(--quiet); white-space: nowrap }
.badge.good { background: var(--good-soft); color: var(--good) }
.badge.warn { background: var(--warn-soft); color: var(--warn) }
.badge.bad { background: var(--bad-soft); color: var(--bad) }
.badge.accent { background: var(--accent-soft); color: var(--accent) }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .45rem 1.2rem }
.facts dt { color: var(--quiet) }
.facts dd { overflow-wrap: anywhere }

/* Tables */
.table { width: 100%; border-collapse: collapse }
.scroll { overflow-x: auto }
.table th { text-align: left; font-size: .8rem; font-weight: 560; color: var(--quiet); padding: .55rem .8rem; white-space: nowrap; border-bottom: 1px solid var(--line) }
.table td { padding: .6rem .8rem; border-bottom: 1px solid var(--line); vertical-align: middle; overflow-wrap: anywhere }
.table th:first-child, .table td:first-child { padding-left: 1rem }
.table th:last-child, .table td:last-child { padding-right: 1rem }
.table tbody tr:last-child td { border-bottom: 0 }
.table tbody tr:hover { background: color-mix(in srgb, var(--raised) 55%, transparent) }
.table tr:focus-within { background: var(--accent-soft) }
.table .number { text-align: right; white-space: nowrap }
.table .narrow { width: 1%; white-space: nowrap }
.table .main { font-weight: 580 }
.table .main a { color: var(--text) }
.hot { color: var(--bad); font-weight: 620 }
.warm { color: var(--warn); font-weight: 600 }
a.hot { text-decoration: underline; text-decoration-color: color-mix(in srgb, currentColor 35%, transparent); text-underline-offset: .2em }
.spark { display: block; width: 7.5rem; max-width: 100%; height: 1.75rem; color: var(--accent); overflow: visible }
.spark .area { fill: currentColor; opacity: .13 }
.spark .line { fill: none; stroke: currentColor; stroke-width: 1.6; vector-effect: non-scaling-stroke; stroke-linejoin: round; stroke-linecap: round }
.spark.warn { color: var(--warn) }
.spark.bad { color: var(--bad) }
.spark .now { stroke: currentColor; stroke-width: 4.5; stroke-linecap: round; vector-effect: non-scaling-stroke }
.spark .base { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke }
.spark.big { width: 100%; height: 7rem }
.chart { display: grid; gap: .35rem }
.chart .axis { display: flex; justify-content: space-between; color: var(--quiet); font-size: .8rem }

/* Forms */
input, select, textarea, button, .button { font: inherit; color: inherit; border-radius: 8px }
input:not([type=checkbox], [type=radio]), select, textarea { background: var(--surface); border: 1px solid light-dark(#8d93a8, #5c6480); padding: .36rem .65rem; max-width: 100% }
textarea { width: 100%; font-family: var(--mono); font-size: .9rem; line-height: 1.5 }
input::placeholder { color: var(--quiet); opacity: 1 }
input[type=checkbox], input[type=radio] { accent-color: var(--accent); width: 1.05rem; height: 1.05rem; margin: 0; vertical-align: -.15em }
button, .button { display: inline-flex; align-items: center; gap: .4rem; padding: .38rem .9rem; border: 1px solid var(--line); background: var(--surface); font-weight: 560; cursor: pointer; white-space: nowrap; color: var(--text) }
button:hover, .button:hover { border-color: var(--accent); text-decoration: none }
button.primary, .button.primary { background: var(--accent); border-color: var(--accent); color: var(--on-accent) }
button.primary:hover, .button.primary:hover { filter: brightness(1.08) }
button.danger { color: var(--bad); border-color: color-mix(in srgb, var(--bad) 45%, var(--line)) }
button.danger:hover { background: var(--bad-soft) }
button:disabled { opacity: .55; cursor: default }
form.inline { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center }
form.stack { display: grid; gap: .75rem; justify-items: start }
.field { display: grid; gap: .2rem; width: 100%; max-width: 34rem }
.field > label, .field > span { font-size: .85rem; font-weight: 560 }
.field .hint { font-size: .83rem; color: var(--quiet); font-weight: 400 }
.field input, .field select { width: 100% }
.filter { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center }
.filter input[type=search] { flex: 1 1 16rem; font-family: var(--mono); font-size: .9rem; min-width: 0 }
.problem { color: var(--bad); font-size: .9rem; overflow-wrap: anywhere }
.verbs { display: flex; flex-wrap: wrap; gap: .5rem; align-items: start }
.verbs > details[open] { flex-basis: 100% }
details.verb > summary { list-style: none; display: inline-flex; cursor: pointer; padding: .38rem .9rem; border: 1px solid var(--line); border-radius: 8px; background: var(--surface); font-weight: 560 }
details.verb > summary::-webkit-details-marker { display: none }
details.verb > summary::before { content: '▸'; color: var(--quiet); margin-right: .5rem; transition: rotate .12s }
details.verb[open] > summary::before { rotate: 90deg }
details.verb > summary:hover { border-color: var(--accent) }
details.verb[open] > form { margin-top: .8rem; padding: .9rem 1rem 1rem; border: 1px solid var(--line); border-radius: var(--round); background: var(--raised) }
details.verb.danger > summary { color: var(--bad) }
.pages { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; padding: .75rem 1rem; border-top: 1px solid var(--line); color: var(--quiet) }
progress { appearance: none; width: 100%; height: .5rem; border: 0; border-radius: 99px; overflow: hidden; background: var(--raised) }
progress::-webkit-progress-bar { background: var(--raised) }
progress::-webkit-progress-value { background: var(--accent); border-radius: 99px }
progress::-moz-progress-bar { background: var(--accent); border-radius: 99px }
dialog { border: 1px solid var(--line); border-radius: 14px; background: var(--surface); color: var(--text); padding: 1.3rem 1.5rem; max-width: min(30rem, calc(100vw - 2rem)); box-shadow: 0 18px 60px rgb(0 0 0 / .28) }
dialog::backdrop { background: rgb(10 12 22 / .45) }
dialog h2 { margin-bottom: .8rem }
dialog .facts { margin-bottom: 1rem }
.unreachable { position: sticky; bottom: 0; padding: .6rem 1.25rem; background: var(--bad-strong); color: light-dark(#fff, #1d0504); font-weight: 600; text-align: center }

@media (max-width: 900px) {
  .viewer { display: none }
}
@media (max-width: 640px) {
  .bar { padding: .6rem .9rem }
  .search { order: 9; flex-basis: 100%; max-width: none }
  .buses { order: 8 }
  .sections { padding: 0 .2rem }
  main { padding: 1.1rem .9rem 2.5rem; gap: 1rem }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .6rem }
  .tile dd, .tile .value { font-size: 1.35rem }
  .notice .go { flex-basis: 100%; margin-left: 1.4rem }
  .tile .spark { display: none }
  .table:not(.plain), .table:not(.plain) tbody { display: block }
  .table:not(.plain) thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .table:not(.plain) tr { display: grid; grid-template-columns: repeat(auto-fit, minmax(6.3rem, 1fr)); gap: .55rem 1rem; padding: .85rem 1rem; border-bottom: 1px solid var(--line) }
  .table:not(.plain) tbody tr:last-child { border-bottom: 0 }
  .table:not(.plain) td, .table:not(.plain) td:first-child, .table:not(.plain) td:last-child { display: block; padding: 0; border: 0; text-align: left; white-space: normal; width: auto }
  .table:not(.plain) td.main, .table:not(.plain) td.wide { grid-column: 1 / -1 }
  .table:not(.plain) td.main { font-size: 1.05rem }
  .table:not(.plain) td:empty { display: none }
  .table:not(.plain) td[data-label]::before { content: attr(data-label); display: block; font-size: .78rem; font-weight: 400; color: var(--quiet) }
  .facts { grid-template-columns: minmax(0, 1fr); gap: .1rem }
  .facts dd { margin-bottom: .6rem }
  .verbs { position: sticky; bottom: 0; padding: .6rem 0; background: var(--ground) }
  .card .verbs { background: var(--surface) }
  button, .button, details.verb > summary { min-height: 2.6rem; align-items: center }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation: none !important } }
@media (forced-colors: active) { .dot { forced-color-adjust: none } }
`
