/** The style of the page of live events. */
export const liveStyle = `
.live-bar { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; align-items: center }
.live-bar button { margin-left: auto }
.live td { min-width: 11rem }
.live .payload { font-family: var(--mono); font-size: .82rem; color: var(--quiet); overflow-wrap: anywhere }
html:not(.scripted) .live-bar button { display: none }
`
