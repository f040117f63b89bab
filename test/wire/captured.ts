import { readFileSync } from 'node:fs'
import type { EncodedMessage } from '../../src/index.ts'

export type System = 'redis' | 'rabbitmq' | 'kafka'

/** One message that eventsource-py 0.4 left on a broker. */
export interface CapturedMessage {
  readonly system: System
  readonly name: string
  readonly kind: 'publish' | 'retry' | 'dlq' | 'replay'
  /** What a transport hands to the codec. */
  readonly message: EncodedMessage
  /** The event as JSON data, parsed as doubles; null where the message is no event. */
  readonly event: Readonly<Record<string, unknown>> | null
}

type Text = string | { readonly base64: string }

interface RawMessage {
  /** Redis: the fields of a stream entry. */
  readonly fields?: Readonly<Record<string, Text>>
  /** RabbitMQ: typed headers; Kafka: pairs. */
  readonly headers?:
    | Readonly<Record<string, { readonly value: unknown }>>
    | readonly (readonly [string, Text])[]
  readonly body?: Text
  readonly value?: Text
}

interface CapturedFile {
  readonly cases: readonly {
    readonly case: string
    readonly kind: CapturedMessage['kind']
    readonly raw: RawMessage
    readonly event: CapturedMessage['event']
  }[]
}

function capturedMessages(system: System): readonly CapturedMessage[] {
  return rawCases(system).map(({ case: name, kind, raw, event }) => {
    const body = raw.fields?.['payload'] ?? raw.body ?? raw.value ?? ''
    return { system, name, kind, event, message: { headers: headersOf(raw), body: bodyOf(body) } }
  })
}

function rawCases(system: System): CapturedFile['cases'] {
  const text = readFileSync(new URL(`./${system}.json`, import.meta.url), 'utf8')
  // The files are part of the repository, and their README says what they hold.
  return (JSON.parse(text) as CapturedFile).cases
}

export const allCapturedMessages: readonly CapturedMessage[] = [
  ...capturedMessages('redis'),
  ...capturedMessages('rabbitmq'),
  ...capturedMessages('kafka'),
]

/** The fields of each entry that eventsource-py left on Redis, in their order. */
export function capturedRedisFields(): readonly (readonly (readonly [name: Buffer, value: Buffer])[])[] {
  return rawCases('redis').map(({ raw: { fields = {} } }) =>
    Object.entries(fields).map(([name, text]) => [Buffer.from(name), Buffer.from(bodyOf(text))] as const),
  )
}

/** The captured message of this name, which must exist. */
export function captured(system: System, name: string): CapturedMessage {
  const found = capturedMessages(system).find((message) => message.name === name)
  if (found === undefined) throw new Error(`no captured message ${name} in ${system}.json`)
  return found
}

function bodyOf(text: Text): string | Uint8Array {
  return typeof text === 'string' ? text : Buffer.from(text.base64, 'base64')
}

function headersOf({ fields, headers }: RawMessage): Record<string, string> {
  const pairs = fields !== undefined ? Object.entries(fields) : isPairs(headers) ? headers : typed(headers)
  const texts = pairs.filter((pair): pair is readonly [string, string] => typeof pair[1] === 'string')
  return Object.fromEntries(texts.filter(([name]) => name !== 'payload'))
}

function isPairs(headers: RawMessage['headers']): headers is readonly (readonly [string, Text])[] {
  return Array.isArray(headers)
}

function typed(headers: Readonly<Record<string, { readonly value: unknown }>> = {}) {
  return Object.entries(headers).map(([name, { value }]) => [name, value] as const)
}
