/** Markup. Only the template `html` makes it, so that every text in it is escaped. */
export class Html {
  readonly #markup: string

  constructor(secret: typeof SECRET, markup: string) {
    if (secret !== SECRET) throw new TypeError('Markup is made by the template html.')
    this.#markup = markup
  }

  toString(): string {
    return this.#markup
  }
}

const SECRET = Symbol('markup')

/** What a template accepts: texts are escaped, markup is not, `undefined`, `null` and `false` are left out. */
export type HtmlValue = Html | string | number | bigint | undefined | null | false | readonly HtmlValue[]

/**
 * Markup of a template. Values are escaped for texts and for attributes in double quotes; an attribute must be quoted.
 */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let markup = strings[0] ?? ''
  for (const [index, value] of values.entries()) markup += markupOf(value) + (strings[index + 1] ?? '')
  return raw(markup)
}

/** An attribute without a value, such as `checked`, if the condition holds. */
export function flag(name: string, isSet: boolean): Html {
  return raw(isSet ? ` ${escaped(name)}` : '')
}

/** A text of an event, a broker or a user. It keeps its direction to itself. */
export function foreign(text: string | number | undefined): Html {
  return text === undefined ? html`<span class="none">–</span>` : html`<bdi>${text}</bdi>`
}

/** Joins markup. */
export function joined(parts: readonly HtmlValue[], separator: string): Html {
  return raw(parts.map(markupOf).join(escaped(separator)))
}

function raw(markup: string): Html {
  return new Html(SECRET, markup)
}

function markupOf(value: HtmlValue): string {
  if (value === undefined || value === null || value === false) return ''
  if (value instanceof Html) return value.toString()
  if (isList(value)) return value.map(markupOf).join('')
  return escaped(String(value))
}

function isList(value: HtmlValue): value is readonly HtmlValue[] {
  return Array.isArray(value)
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
}

/** Characters that HTML forbids, that nobody sees, or that change the direction of what follows. */
export const UNSEEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g

/** Escapes a text. Control characters and marks of direction are shown by their code. */
function escaped(text: string): string {
  return text
    .toWellFormed()
    .replace(UNSEEN, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .replace(/[&<>"'`]/g, (found) => ENTITIES[found] ?? found)
}
