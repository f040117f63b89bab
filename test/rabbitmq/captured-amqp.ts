import { readFileSync } from 'node:fs'

/** One message that eventsource-py published to RabbitMQ, with its properties. */
export interface CapturedAmqp {
  readonly name: string
  readonly kind: string
  readonly routingKey: string
  readonly body: string
  /** Keyed by AMQP's names. */
  readonly properties: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, unknown>>
}

interface RawCase {
  readonly case: string
  readonly kind: string
  readonly raw: {
    readonly routing_key: string
    readonly body: string
    readonly properties: Readonly<Record<string, unknown>>
    readonly headers: Readonly<Record<string, { readonly value: unknown }>>
  }
}

export function capturedAmqp(kind: string): readonly CapturedAmqp[] {
  const text = readFileSync(new URL('../wire/rabbitmq.json', import.meta.url), 'utf8')
  // The file is part of the repository; the README in its folder describes it.
  const { cases } = JSON.parse(text) as { cases: readonly RawCase[] }
  return cases
    .filter((found) => found.kind === kind)
    .map(({ case: name, raw }) => ({
      name,
      kind,
      routingKey: raw.routing_key,
      body: raw.body,
      properties: raw.properties,
      headers: Object.fromEntries(Object.entries(raw.headers).map(([key, { value }]) => [key, value])),
    }))
}

/** A captured message as amqplib publishes it. */
export function publishOptions({ properties, headers }: CapturedAmqp) {
  return {
    contentType: String(properties['content_type']),
    contentEncoding: String(properties['content_encoding']),
    deliveryMode: 2,
    priority: 0,
    messageId: String(properties['message_id']),
    ...(typeof properties['timestamp'] === 'number' ? { timestamp: properties['timestamp'] } : {}),
    headers,
  }
}
