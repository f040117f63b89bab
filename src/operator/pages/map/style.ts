/** The style of the map. */
export const mapStyle = `
.map { overflow: auto; padding: .5rem; max-height: 75vh }
.map svg { display: block; margin: 0 auto; font: 13px system-ui, sans-serif }
.map path { fill: none; stroke: var(--quiet); stroke-width: 1.5; opacity: .55 }
.map marker path { fill: var(--quiet); stroke: none; opacity: 1 }
.map rect { fill: var(--surface); stroke: var(--line); stroke-width: 1.5 }
.map text { fill: var(--text) }
.map .sub { fill: var(--quiet); font-size: 11px }
.map .producer rect { fill: var(--raised) }
.map .event rect { fill: var(--accent-soft); stroke: var(--accent) }
.map .bad rect { stroke: var(--bad); fill: var(--bad-soft) }
.map .warn rect { stroke: var(--warn); fill: var(--warn-soft) }
.map a:hover rect { stroke: var(--accent) }
`
