import { ageOf } from '../../../filter-line/index.ts'
import { foreign, type Html, html } from '../../html.ts'

/** A number for people: `8,431`. */
export function number(count: number): string {
  return count.toLocaleString('en-US')
}

/** `1 dead letter`, `8,431 dead letters`. */
export function lettersOf(count: number): string {
  return `${number(count)} ${count === 1 ? 'dead letter' : 'dead letters'}`
}

/** A time: how long ago, and exactly for those who ask. */
export function ago(at: Date | undefined): Html {
  if (at === undefined) return foreign(undefined)
  const exact = at.toISOString()
  return html`<time datetime="${exact}" title="${exact}">${ageOf(at)} ago</time>`
}

/** A time of the day in UTC, with the date unless it is today: `14:02:09`. */
export function clock(at: Date | undefined): Html {
  if (at === undefined) return foreign(undefined)
  const exact = at.toISOString()
  const [day = '', time = ''] = exact.split('T')
  const isToday = day === new Date().toISOString().slice(0, 10)
  const text = isToday ? time.slice(0, 8) : `${day} ${time.slice(0, 5)}`
  return html`<time datetime="${exact}" title="${exact}">${text}</time>`
}

/** The beginning of a text. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).toWellFormed()}…`
}

/** Names in a sentence, at most five. */
export function names(all: readonly string[]): Html {
  const shown = all.slice(0, 5)
  const rest = all.length - shown.length
  return html`${shown.map((name, index) => html`${index > 0 && ', '}<b>${foreign(name)}</b>`)}${rest > 0 && ` and ${rest} more`}`
}
