import { fraction, type OptionRule } from '../../src/kit/options.ts'
import type { Member } from './interfaces.ts'

/** An option, as a row of a table shows it. */
export interface OptionRow {
  readonly name: string
  readonly type: string
  readonly unit: string
  readonly default: string
  readonly rule: string
  readonly meaning: string
}

const ABSENT = '–'

/**
 * @param value - the default in the code; undefined if there is none.
 * @throws Error if the TSDoc is missing or states another default.
 */
export function optionRow(
  { name, type, isOptional, doc }: Member,
  rule: OptionRule | undefined,
  value: unknown,
): OptionRow {
  if (doc === '') throw new Error(`${name} has no TSDoc`)
  const { meaning, stated } = splitDefault(doc)
  if (stated !== undefined) refuseOtherDefault(name, stated, value)
  return {
    name: `\`${name}\``,
    type: `\`${type}\``,
    unit: unitOf(name, rule),
    default: defaultOf({ isOptional, stated, value }),
    rule: rule?.rule ?? ABSENT,
    meaning,
  }
}

/** Takes the sentence "Default ..." out of a text. */
function splitDefault(doc: string): { readonly meaning: string; readonly stated: string | undefined } {
  const match = /(?<=^|[.:)] )Default(?:s to|:)? (.*?)\.(?= [A-Z`]|$)/.exec(doc)
  if (match === null) return { meaning: doc, stated: undefined }
  const meaning = doc.replace(match[0], '').replace(/\s+/g, ' ').trim()
  return { meaning, stated: match[1] ?? '' }
}

interface Default {
  readonly isOptional: boolean
  readonly stated: string | undefined
  readonly value: unknown
}

function defaultOf({ isOptional, stated, value }: Default): string {
  if (isLiteral(value)) return `${literal(value)}${rest(stated)}`
  return stated ?? (isOptional ? ABSENT : 'required')
}

/** What a stated default says beyond its value, such as "64 MiB". */
function rest(stated: string | undefined): string {
  const beyond = stated === undefined ? undefined : /^\S+? ?(\(.*\)|; .*)$/.exec(stated)?.[1]
  return beyond === undefined ? '' : beyond.startsWith(';') ? beyond : ` ${beyond}`
}

function isLiteral(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function literal(value: string | number | boolean): string {
  if (typeof value === 'string') return `\`'${value}'\``
  return typeof value === 'number' && Number.isFinite(value) ? value.toLocaleString('en-US') : `\`${value}\``
}

function refuseOtherDefault(name: string, stated: string, value: unknown): void {
  const said = /^(?:'[^']*'|`[^`]*`|Infinity|true|false|-?\d[\d,.]*\d|\d)/.exec(stated)?.[0]
  if (said === undefined || !isLiteral(value)) return
  const plain = said.replace(/^[`']+|[`']+$/g, '')
  const isNumber = typeof value === 'number' && Number.isFinite(value)
  // "30 days" and the like stand for a number of milliseconds.
  if (isNumber && /^\d+ (?:days|hours|minutes|MiB)/.test(stated)) return
  const same = isNumber ? Number(plain.replaceAll(',', '')) === value : plain === String(value)
  if (!same)
    throw new Error(`the TSDoc of ${name} states the default ${said}, and the code has ${String(value)}`)
}

function unitOf(name: string, rule: OptionRule | undefined): string {
  if (/Ms$/.test(name) || /milliseconds/.test(rule?.rule ?? '')) return 'ms'
  if (/Bytes$/.test(name)) return 'bytes'
  if (/PerSecond$/.test(name)) return 'per second'
  if (rule?.rule === fraction.rule) return 'fraction'
  return /\binteger\b/.test(rule?.rule ?? '') ? 'count' : ABSENT
}
