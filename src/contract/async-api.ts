import type { ContractEvent, EventContract } from './contract.ts'
import { ENVELOPE_SCHEMA, HEADERS_SCHEMA } from './envelope-schema.ts'
import type { JsonSchema } from './payload-schemas.ts'

/** A place on a broker to which a bus publishes, with its default names. */
export interface AsyncApiChannel {
  readonly bus: 'redis' | 'rabbitmq' | 'kafka'
  /** `streamPrefix`, `exchangeName` or `topicPrefix` of the bus. */
  readonly name: string
}

/** What an AsyncAPI document contains in addition to the events. */
export interface AsyncApiOptions {
  readonly title: string
  /** Version of the service's API. */
  readonly version: string
  readonly channels: readonly AsyncApiChannel[]
}

/** The contract as an AsyncAPI 3.0 document, with the messages of the default codec. */
export function asyncApiOf(
  { events }: EventContract,
  { title, version, channels }: AsyncApiOptions,
): Record<string, unknown> {
  const types = Object.keys(events)
  const refs = Object.fromEntries(
    types.map((type) => [idOf(type), { $ref: `#/components/messages/${idOf(type)}` }]),
  )
  const all = channels.flatMap(channelsOf)
  return {
    asyncapi: '3.0.0',
    info: { title, version },
    defaultContentType: 'application/json',
    channels: Object.fromEntries(all.map(({ id, ...channel }) => [id, { ...channel, messages: refs }])),
    operations: Object.fromEntries(
      all
        .filter(({ id }) => !id.endsWith(DEAD_LETTERS))
        .map(({ id }) => [`publish_${id}`, { action: 'send', channel: { $ref: `#/channels/${id}` } }]),
    ),
    components: {
      messages: Object.fromEntries(types.map((type) => [idOf(type), messageOf(type, events[type])])),
    },
  }
}

const DEAD_LETTERS = '_dead_letters'

interface Channel {
  readonly id: string
  readonly address: string
  readonly title: string
  readonly bindings?: Record<string, unknown>
}

function channelsOf({ bus, name }: AsyncApiChannel): readonly Channel[] {
  const id = idOf(`${bus}_${name}`)
  const dead = { id: `${id}${DEAD_LETTERS}`, title: 'Dead letters' }
  switch (bus) {
    case 'redis':
      return [
        { id, title: 'Redis stream', address: `${name}:stream` },
        { ...dead, address: `${name}:stream_dlq` },
      ]
    case 'kafka':
      return [
        { id, title: 'Kafka topic', address: `${name}.stream`, bindings: kafka(`${name}.stream`) },
        { ...dead, address: `${name}.stream.dlq`, bindings: kafka(`${name}.stream.dlq`) },
      ]
    case 'rabbitmq':
      return [
        { id, title: 'RabbitMQ exchange', address: name, bindings: amqp(name, 'topic') },
        { ...dead, address: `${name}_dlq`, bindings: amqp(`${name}_dlq`, 'direct') },
      ]
  }
}

const kafka = (topic: string) => ({ kafka: { topic, bindingVersion: '0.5.0' } })

const amqp = (name: string, type: string) => ({
  amqp: { is: 'routingKey', exchange: { name, type, durable: true }, bindingVersion: '0.3.0' },
})

function messageOf(type: string, event: ContractEvent | undefined): Record<string, unknown> {
  if (event === undefined) return {}
  const { aggregateType, writtenVersion, version, payload, earlier } = event
  const written = writtenVersion === version ? payload.writes : (earlier[writtenVersion]?.writes ?? {})
  const fixed = {
    event_type: { const: type },
    aggregate_type: { const: aggregateType },
    event_version: { const: writtenVersion },
  }
  return {
    name: type,
    title: type,
    contentType: 'application/json',
    headers: HEADERS_SCHEMA,
    payload: { allOf: [ENVELOPE_SCHEMA, { properties: fixed }, inlined(written)] },
  }
}

/**
 * The schema without references, which AsyncAPI would look up in the document. A recursive part accepts everything. A payload and
 * its envelope are one object, so unknown fields of the payload are those of the envelope. Unknown fields are nowhere refused,
 * because producers may add some.
 */
function inlined(root: JsonSchema): unknown {
  const visit = (node: unknown, open: readonly string[], isPayload: boolean): unknown => {
    if (Array.isArray(node)) return node.map((item) => visit(item, open, isPayload))
    if (typeof node !== 'object' || node === null) return node
    const at: unknown = Reflect.get(node, '$ref')
    if (typeof at === 'string')
      return open.includes(at) ? {} : visit(lookUp(root, at), [...open, at], isPayload)
    const keywords = Object.entries(node).filter(
      ([key, value]) =>
        key !== '$defs' && !(key === 'additionalProperties' && (isPayload || value === false)),
    )
    const entries = keywords.map(([key, value]) => [key, visit(value, open, isPayload && COMBINING.has(key))])
    return Object.fromEntries(entries)
  }
  return visit(root, [], true)
}

/** Keywords whose schemas apply to the same object. */
const COMBINING: ReadonlySet<string> = new Set(['allOf', 'anyOf', 'oneOf'])

function lookUp(root: JsonSchema, reference: string): unknown {
  const steps = reference.replace(/^#\/?/, '').split('/').filter(Boolean)
  return steps.reduce<unknown>((target, step) => Reflect.get(Object(target), step), root)
}

/** AsyncAPI allows letters, digits, dots, dashes and underscores in the keys of components. */
const idOf = (name: string) => name.replace(/[^\w.-]/g, '_')
