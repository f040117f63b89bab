import type { OperatorAuditEntry } from './activity.ts'
import { assetPath } from './assets/index.ts'
import { numberText } from './components.ts'
import { flag, foreign, type Html, html } from './html.ts'
import type { Links } from './links.ts'
import type { Page } from './route.ts'
import { SECTIONS, type SectionName, sectionPath } from './sections.ts'

/** How the broker of the bus is. */
export interface BusState {
  readonly level: 'ok' | 'away' | 'unknown'
  readonly text: string
}

export interface LayoutParts {
  readonly links: Links
  /** Undefined before it is known who looks. */
  readonly viewer: string | undefined
  readonly bus: string | undefined
  readonly buses: readonly string[]
  /** The sections that have a page. */
  readonly sections: ReadonlySet<SectionName>
  readonly environment: string | undefined
  readonly busState: BusState | undefined
  /** The dead letters of the groups that the viewer may see; undefined if unknown. */
  readonly deadLetters: number | undefined
  /** The change that brought the viewer here. */
  readonly did: OperatorAuditEntry | undefined
}

/** A whole document. */
export function documentOf(page: Page, parts: LayoutParts): Html {
  const { links, bus, did } = parts
  const title = bus === undefined ? page.title : `${page.title} · ${bus}`
  // With an unescaped end of the script, the build would replace the template by a helper of another package.
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · eventspine</title>
<link rel="icon" href="${links.to(assetPath('icon'))}" type="image/svg+xml">
<link rel="stylesheet" href="${links.to(assetPath('style'))}">
<script type="module" src="${links.to(assetPath('script'))}"><\/script>
${page.refreshSeconds !== undefined && html`<noscript><meta http-equiv="refresh" content="${Math.max(10, page.refreshSeconds)}"></noscript>`}
</head>
<body${refreshOf(page)}>
<a class="skip" href="#main">Skip to content</a>
${topBar(parts)}
${bus !== undefined && navigation(page, parts)}
<main id="main" tabindex="-1">
${did !== undefined && outcome(did)}
${page.main}
</main>
<footer><p><span class="keys"><kbd>?</kbd> shows the keys · </span>all times are UTC</p></footer>
${bus !== undefined && keysDialog(parts)}
</body>
</html>`
}

function refreshOf({ refreshSeconds }: Page): Html | undefined {
  return refreshSeconds === undefined ? undefined : html` data-refresh="${refreshSeconds}"`
}

function keysDialog({ sections }: LayoutParts): Html {
  const going = SECTIONS.filter(({ name }) => sections.has(name)).map(
    ({ label, key }) => [html`<kbd>g</kbd> <kbd>${key}</kbd>`, label] as const,
  )
  const rows: readonly (readonly [Html, string])[] = [
    [html`<kbd>/</kbd>`, 'Filter'],
    [html`<kbd>j</kbd> <kbd>k</kbd>`, 'Next, previous row'],
    [html`<kbd>Enter</kbd>`, 'Open the row'],
    [html`<kbd>x</kbd>`, 'Mark the row'],
    ...going,
    [html`<kbd>Esc</kbd>`, 'Close this'],
  ]
  return html`<dialog id="keys" aria-labelledby="keys-title"><h2 id="keys-title">Keys</h2>
<dl class="facts">${rows.map(([keys, text]) => html`<dt>${keys}</dt><dd>${text}</dd>`)}</dl>
<form method="dialog"><button>Close</button></form></dialog>`
}

const BRAND = html`<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" fill="#3346b8"/><path d="M10 5v22M10 10h11M10 16h7M10 22h11" stroke="#c3ccff" stroke-width="2.4" stroke-linecap="round"/><g fill="#fff"><circle cx="10" cy="10" r="2.6"/><circle cx="10" cy="16" r="2.6"/><circle cx="10" cy="22" r="2.6"/></g></svg>`

function topBar({ links, viewer, bus, buses, environment, busState, sections }: LayoutParts): Html {
  return html`<header class="bar">
<a class="brand" href="${links.to([])}">${BRAND}eventspine</a>
${
  buses.length > 0 &&
  html`<nav class="buses" aria-label="Buses"><ul>${buses.map(
    (name) => html`<li><a href="${links.to([name])}"${current(name === bus)}>${foreign(name)}</a></li>`,
  )}</ul></nav>`
}
${environment !== undefined && html`<span class="environment${environment === 'production' && ' production'}">${environment}</span>`}
${bus !== undefined && sections.has('events') && searchBox(links)}
${busState !== undefined && html`<span class="health ${busState.level}" id="health" role="status"><span class="dot" aria-hidden="true"></span>${busState.text}</span>`}
${viewer !== undefined && html`<span class="viewer">${foreign(viewer)}</span>`}
</header>`
}

function searchBox(links: Links): Html {
  return html`<form class="search" role="search" action="${links.bus(['events'])}">
<label class="hidden" for="search">Filter of events</label>
<input id="search" name="filter" type="search" placeholder="type:OrderCreated since:1h" autocomplete="off" spellcheck="false">
</form>`
}

function navigation(page: Page, { links, sections, deadLetters = 0 }: LayoutParts): Html {
  const shown = SECTIONS.filter(({ name }) => sections.has(name))
  return html`<nav class="sections" aria-label="Sections"><ul>${shown.map(
    ({ name, label, key }) =>
      html`<li><a href="${links.bus(sectionPath(name))}" data-key="${key}"${current(name === page.section)}>${label}${name === 'dead-letters' && deadLetters > 0 && html`<span class="count">${numberText(deadLetters)}</span>`}</a></li>`,
  )}</ul></nav>`
}

function current(isCurrent: boolean): Html {
  return isCurrent ? html` aria-current="page"` : flag('hidden', false)
}

function outcome({ state, text, action }: OperatorAuditEntry): Html {
  const isGood = state === 'done' || state === 'started'
  return html`<p class="outcome ${isGood ? 'good' : 'bad'}" role="status">${text ?? `${action}: ${state}`}</p>`
}
