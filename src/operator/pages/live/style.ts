/** The style of the page of live events. */
export const liveStyle = `
.live-bar { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; align-items: center }
.live-bar button { margin-left: auto }
.live-bar .spark { color: var(--good) }
html:not(.scripted) .live-bar .spark { display: none }
.live [data-state=running]::before { content: ''; display: inline-block; width: .55rem; height: .55rem; margin-right: .5rem; border-radius: 50%; background: var(--good) }
.live .table td { padding-block: .38rem }
.live td { min-width: 11rem }
@media (min-width: 641px) { .live td.payload { width: 55%; max-width: 0; white-space: nowrap; overflow: hidden; text-overflow: ellipsis } }
.live .payload { font-family: var(--mono); font-size: .82rem; color: var(--quiet); overflow-wrap: anywhere }
html:not(.scripted) .live-bar button { display: none }
`
