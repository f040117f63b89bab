import { ageOf } from '../filter-line/index.ts'
import { type Html, type HtmlValue, html } from './html.ts'

/** A column of a table. */
export interface TableColumn<R> {
  readonly label: string
  readonly cell: (row: R) => HtmlValue
  /** `main`: what the row is about. `number`: at the right. `narrow`: no wider than its content. `wide`: a line of its own on a small screen. */
  readonly kind?: 'main' | 'number' | 'narrow' | 'wide'
}

/** A table that becomes cards on a small screen. The keys `j` and `k` step through the first links of its rows. */
export function table<R>(options: {
  /** What it lists, for screen readers. */
  readonly caption: string
  readonly columns: readonly TableColumn<R>[]
  readonly rows: readonly R[]
  /** Unique in the page, so that a refresh recognizes the row. */
  readonly id: (row: R) => string
}): Html {
  const { caption, columns, rows, id } = options
  // A table that is displayed as cards loses its roles in some browsers, unless they are said.
  return html`<div class="scroll"><table class="table" role="table">
<caption class="hidden">${caption}</caption>
<thead role="rowgroup"><tr role="row">${columns.map(
    ({ label, kind }) => html`<th role="columnheader" scope="col" class="${kind}">${label}</th>`,
  )}</tr></thead>
<tbody role="rowgroup">${rows.map(
    (row) =>
      html`<tr role="row" id="${id(row)}" data-row>${columns.map(
        ({ label, kind, cell }) =>
          html`<td role="cell" class="${kind}"${kind !== 'main' && label !== '' && html` data-label="${label}"`}>${cell(row)}</td>`,
      )}</tr>`,
  )}</tbody>
</table></div>`
}

/** A number with groups of three digits, a pale one for zero; a dash if it is unknown. */
export function number(value: number | undefined): HtmlValue {
  if (value === undefined) return html`<span class="none" title="The broker does not report it.">–</span>`
  return value === 0 ? html`<span class="none">0</span>` : numberText(value)
}

export function numberText(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 1 })
}

/** `1 event`, `1,200 events`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${numberText(count)} ${count === 1 ? one : many}`
}

/** How long ago a time was, with the time itself for those who ask; a dash without one. */
export function age(at: Date | undefined): HtmlValue {
  if (at === undefined) return html`<span class="none">–</span>`
  return html`<time datetime="${at.toISOString()}" title="${timeText(at)}">${ageOf(at)}</time>`
}

/** A time of today as a time, another one with its date; UTC. */
export function when(at: Date | undefined): HtmlValue {
  if (at === undefined) return html`<span class="none">–</span>`
  const iso = at.toISOString()
  const isToday = iso.slice(0, 10) === new Date().toISOString().slice(0, 10)
  const text = isToday ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 19)}`
  return html`<time datetime="${iso}" title="${timeText(at)}">${text}</time>`
}

function timeText(at: Date): string {
  return `${at.toISOString().replace('T', ' ').slice(0, 23)} UTC`
}

/** A short mark, such as a state. */
export function badge(text: string, level?: 'good' | 'warn' | 'bad' | 'accent'): Html {
  return html`<span class="badge ${level}">${text}</span>`
}

/** A box with a heading. */
export function card(heading: string, body: HtmlValue, aside?: HtmlValue): Html {
  return html`<section class="card"><header><h2>${heading}</h2>${aside}</header>${body}</section>`
}

/** What a list says that has nothing to list. */
export function empty(title: string, text?: HtmlValue): Html {
  return html`<div class="empty"><strong>${title}</strong>${text !== undefined && html`<p>${text}</p>`}</div>`
}

/** A form of a change, behind a button that opens it. It works without a script. */
export function verbForm(options: {
  /** Unique in the page. */
  readonly id: string
  /** What the button that opens it says. */
  readonly label: string
  /** Where the form is sent. */
  readonly action: string
  readonly fields?: HtmlValue
  /** What the button that sends it says. */
  readonly submit: string
  readonly isDangerous?: boolean
}): Html {
  const { id, label, action, fields, submit, isDangerous = false } = options
  const look = isDangerous ? 'danger' : 'primary'
  return html`<details class="verb ${isDangerous && 'danger'}" id="${id}"><summary>${label}</summary>
<form method="post" action="${action}" class="stack">${fields}<button class="${look}">${submit}</button></form></details>`
}

/** The field for the reason of a change, which is recorded. */
export function whyField(id: string, isRequired = false): Html {
  return html`<div class="field"><label for="${id}-why">Reason <span class="hint">for the record, such as a ticket</span></label>
<input id="${id}-why" name="why" maxlength="500" autocomplete="off"${isRequired && html` required`}></div>`
}

/** The filter line of a page. */
export function filterForm(options: {
  readonly action: string
  readonly text: string
  readonly problem: string | undefined
  readonly placeholder: string
  readonly label: string
  /** Other fields of the query, within the form. */
  readonly fields?: HtmlValue
}): Html {
  const { action, text, problem, placeholder, label, fields } = options
  return html`<form class="filter" role="search" action="${action}">
<label class="hidden" for="filter">${label}</label>
<input id="filter" name="filter" type="search" value="${text}" placeholder="${placeholder}" autocomplete="off" spellcheck="false"${problem !== undefined && html` aria-invalid="true" aria-describedby="filter-problem"`}>
${fields}<button>Filter</button>
${problem !== undefined && html`<p class="problem" id="filter-problem" role="alert">${problem}</p>`}</form>`
}
