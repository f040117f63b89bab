import { counted } from '../../components.ts'
import { foreign, type Html, html } from '../../html.ts'

/** `1 dead letter`, `8,431 dead letters`. */
export function lettersOf(count: number): string {
  return counted(count, 'dead letter')
}

/** The beginning of a text. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).toWellFormed()}…`
}

/** Names in a sentence, at most five. */
export function names(all: readonly string[]): Html {
  const shown = all.slice(0, 5)
  const rest = all.length - shown.length
  return html`${shown.map((name, index) => html`${index > 0 && ', '}<strong>${foreign(cut(name, 40))}</strong>`)}${rest > 0 && ` and ${rest} more`}`
}

/** A way back, above the heading. */
export function trail(links: readonly { readonly href: string; readonly text: string }[]): Html {
  return html`<nav class="trail" aria-label="Path">${links.map(({ href, text }) => html`<a href="${href}">${foreign(text)}</a> `)}</nav>`
}
