import { readFileSync } from 'node:fs'
import type { PlainMessage } from './plain-kafka.ts'

type Text = string | { readonly base64: string }

/** A message that eventsource-py published to Kafka. */
export interface CapturedKafka {
  readonly name: string
  readonly partition: number
  readonly key: string
  readonly value: Buffer
  readonly headers: readonly (readonly [name: string, value: string])[]
}

interface RawCase {
  readonly case: string
  readonly kind: string
  readonly raw: Omit<CapturedKafka, 'name' | 'value'> & { readonly value: Text }
}

export function capturedKafka(...kinds: readonly string[]): readonly CapturedKafka[] {
  const text = readFileSync(new URL('../wire/kafka.json', import.meta.url), 'utf8')
  // The file is part of the repository; its README describes the content.
  const { cases } = JSON.parse(text) as { cases: readonly RawCase[] }
  return cases
    .filter(({ kind }) => kinds.includes(kind))
    .map(({ case: name, raw }) => ({ ...raw, name, value: bytesOf(raw.value) }))
}

/** The message as a plain client sends it. */
export function plainMessage(topic: string, { partition, key, value, headers }: CapturedKafka): PlainMessage {
  const pairs = headers.map(([name, text]) => [Buffer.from(name), Buffer.from(text)] as const)
  return { topic, partition, key: Buffer.from(key), value, headers: new Map(pairs) }
}

function bytesOf(text: Text): Buffer {
  return typeof text === 'string' ? Buffer.from(text) : Buffer.from(text.base64, 'base64')
}
