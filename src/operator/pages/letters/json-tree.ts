import { numberText } from '../../components.ts'
import { foreign, type Html, html } from '../../html.ts'
import { cut } from './format.ts'

/** Most values of a tree; a page stays small whatever a payload holds. */
const MAX_VALUES = 600
/** Most entries of one object or array. */
const MAX_ENTRIES = 200
const MAX_DEPTH = 50
/** Longest text of a value, in characters. */
const MAX_TEXT = 4000
/** What lies deeper is closed at first. */
const OPEN_DEPTH = 3

/** A payload as nested lists that open and close without script. It has passed the masking. */
export function jsonTree(value: unknown): Html {
  return html`<div class="tree">${new Tree().of(value, 0)}</div>`
}

class Tree {
  #left = MAX_VALUES

  /** @param key - stands before it. */
  of(value: unknown, depth: number, key?: Html): Html {
    this.#left -= 1
    if (Array.isArray(value)) {
      const items = value.map((item, index) => [String(index), item] as const)
      return this.#branch(items, ['[', ']'], depth, key)
    }
    if (typeof value === 'object' && value !== null)
      return this.#branch(Object.entries(value), ['{', '}'], depth, key)
    return html`${key}${leaf(value)}`
  }

  #branch(
    entries: readonly (readonly [string, unknown])[],
    [start, end]: readonly [string, string],
    depth: number,
    key: Html | undefined,
  ): Html {
    const count = entries.length
    if (count === 0) return html`${key}<span class="json-empty">${start}${end}</span>`
    const size = html`${key}<span class="json-size">${start} ${numberText(count)} ${count === 1 ? 'entry' : 'entries'} ${end}</span>`
    if (depth >= MAX_DEPTH || this.#left <= 0) return size
    const shown: Html[] = []
    for (const [name, item] of entries.slice(0, MAX_ENTRIES)) {
      if (this.#left <= 0) break
      const label = html`<span class="json-key">${foreign(cut(name, 200))}</span> `
      shown.push(html`<li>${this.of(item, depth + 1, label)}</li>`)
    }
    const rest = count - shown.length
    return html`<details${depth < OPEN_DEPTH && html` open`}><summary>${size}</summary><ul>${shown}${
      rest > 0 && html`<li class="json-rest">and ${numberText(rest)} more</li>`
    }</ul></details>`
  }
}

function leaf(value: unknown): Html {
  if (typeof value === 'string') {
    const rest = value.length - MAX_TEXT
    return html`<span class="json-text">${foreign(`"${cut(value, MAX_TEXT)}"`)}</span>${
      rest > 0 && html` <span class="json-rest">and ${numberText(rest)} more characters</span>`
    }`
  }
  return html`<span class="json-value">${String(value)}</span>`
}
