import { isDeepStrictEqual } from 'node:util'
import { MASK } from '../../mask.ts'

/** One field that differs. The values may be shown. */
export interface FieldChange {
  /** Such as `lines.0.sku`. */
  readonly path: string
  /** JSON; undefined if the field is new. */
  readonly before: string | undefined
  /** JSON; undefined if the field is removed. */
  readonly after: string | undefined
}

interface Pair {
  readonly raw: unknown
  /** The same as it may be shown. */
  readonly shown: unknown
}

/** The fields in which two payloads differ, and no others. */
export function changesBetween(
  before: Pair,
  after: Pair,
  path: readonly string[] = [],
): readonly FieldChange[] {
  if (isDeepStrictEqual(before.raw, after.raw)) return []
  if (!isBranch(before) || !isBranch(after) || Array.isArray(before.raw) !== Array.isArray(after.raw)) {
    return [{ path: path.join('.'), before: jsonText(before.shown), after: jsonText(after.shown) }]
  }
  const names = new Set([...Object.keys(before.raw), ...Object.keys(after.raw)])
  return [...names].flatMap((name) => {
    const here = [...path, name]
    const [old, now] = [fieldOf(before, name), fieldOf(after, name)]
    if (old !== undefined && now !== undefined) return changesBetween(old, now, here)
    return [{ path: here.join('.'), before: old && jsonText(old.shown), after: now && jsonText(now.shown) }]
  })
}

/** True if both what is and what is shown have fields: a value that is hidden has none. */
function isBranch(pair: Pair): pair is { readonly raw: object; readonly shown: object } {
  return isObject(pair.raw) && isObject(pair.shown)
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

function fieldOf(
  { raw, shown }: { readonly raw: object; readonly shown: object },
  name: string,
): Pair | undefined {
  return Object.hasOwn(raw, name) ? { raw: ownValue(raw, name), shown: ownValue(shown, name) } : undefined
}

function ownValue(object: object, name: string): unknown {
  return Object.getOwnPropertyDescriptor(object, name)?.value
}

/**
 * The edited payload with the original values where the viewer has left what was shown instead of them.
 * @returns the path of a mask that stands where nothing was hidden.
 */
export function withHidden(
  edited: unknown,
  original: Pair,
  path: readonly string[] = [],
): { readonly value: unknown } | { readonly misplaced: string } {
  if (original.shown !== undefined && isDeepStrictEqual(edited, original.shown))
    return { value: original.raw }
  if (edited === MASK) return { misplaced: path.join('.') }
  if (!isObject(edited)) return { value: edited }
  const entries: (readonly [string, unknown])[] = []
  for (const [name, item] of Object.entries(edited)) {
    const former = isBranch(original) ? fieldOf(original, name) : undefined
    const found = withHidden(item, former ?? { raw: undefined, shown: undefined }, [...path, name])
    if ('misplaced' in found) return found
    entries.push([name, found.value])
  }
  return { value: Array.isArray(edited) ? entries.map(([, item]) => item) : Object.fromEntries(entries) }
}

// Every supported Node.js has `rawJSON`, but TypeScript's library does not declare it yet.
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON

/** JSON with all digits of large integers. */
export function jsonText(value: unknown, indent?: number): string {
  const rawNumber = (_key: string, item: unknown) => (typeof item === 'bigint' ? rawJson(String(item)) : item)
  return JSON.stringify(value, rawNumber, indent) ?? 'undefined'
}

/** Reads JSON with all digits of large integers. @throws SyntaxError */
export function parsePayload(text: string): unknown {
  return JSON.parse(text, (_key, item: unknown, context?: { readonly source?: string }) =>
    typeof item === 'number' && !Number.isSafeInteger(item) && /^-?\d+$/.test(context?.source ?? '')
      ? BigInt(context?.source ?? 0)
      : item,
  )
}
