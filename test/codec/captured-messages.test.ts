import { describe, expect, it } from 'vitest'
import { DecodeError, type DomainEvent, GenericEvent, JsonCodec } from '../../src/index.ts'
import { allCapturedMessages, type CapturedMessage, captured } from '../wire/captured.ts'
import { classForPython } from './python-events.ts'

const codec = new JsonCodec()
const decodable = allCapturedMessages.filter(({ event }) => event !== null)
const named = (messages: readonly CapturedMessage[]) =>
  messages.map((message) => [`${message.system} ${message.name}`, message] as const)

/** The envelope as the Python side has it, from the JSON data of a case. */
function expectedEnvelope(event: Readonly<Record<string, unknown>>) {
  const orUndefined = (value: unknown) => value ?? undefined
  return {
    eventId: event['event_id'],
    eventType: event['event_type'],
    eventVersion: event['event_version'],
    occurredAt: new Date(String(event['occurred_at'])),
    aggregateId: event['aggregate_id'],
    aggregateType: event['aggregate_type'],
    aggregateVersion: event['aggregate_version'],
    tenantId: orUndefined(event['tenant_id']),
    actorId: orUndefined(event['actor_id']),
    correlationId: event['correlation_id'],
    causationId: orUndefined(event['causation_id']),
    metadata: event['metadata'],
  }
}

const ENVELOPE_LENGTH = 12

/** The payload with what a parser of doubles lost put back: digits of `big_int`, and NaN, which is null on the wire. */
function expectedPayload(event: Readonly<Record<string, unknown>>) {
  const payload = Object.fromEntries(Object.entries(event).slice(ENVELOPE_LENGTH))
  if ('big_int' in payload) payload['big_int'] = 9007199254740993n
  if (payload['value'] === 'NaN') payload['value'] = null
  return payload
}

function envelopeOf(event: DomainEvent) {
  return Object.fromEntries(Object.keys(expectedEnvelope({})).map((key) => [key, Reflect.get(event, key)]))
}

describe('each message of eventsource-py 0.4', () => {
  it('exists: 18 of Redis, 24 of RabbitMQ, 28 of Kafka, 66 of them events', () => {
    const count = (system: string) =>
      allCapturedMessages.filter((message) => message.system === system).length

    expect([count('redis'), count('rabbitmq'), count('kafka'), decodable.length]).toEqual([18, 24, 28, 66])
  })

  it.each(named(decodable))('decodes into its class: %s', (_name, { message, event }) => {
    const decoded = codec.decode(message, classForPython)

    expect(decoded).not.toBeInstanceOf(GenericEvent)
    expect(decoded).toBeInstanceOf(classForPython(decoded.eventType))
    expect(envelopeOf(decoded)).toEqual(expectedEnvelope(event ?? {}))
    expect({ ...decoded }).toMatchObject(expectedPayload(event ?? {}))
  })

  it.each(named(decodable))(
    'decodes into a GenericEvent if its type is unknown: %s',
    (_name, { message, event }) => {
      const decoded = codec.decode(message, () => undefined)

      expect(decoded).toBeInstanceOf(GenericEvent)
      expect(envelopeOf(decoded)).toEqual(expectedEnvelope(event ?? {}))
      expect(Reflect.get(decoded, 'data')).toEqual(expectedPayload(event ?? {}))
    },
  )

  it.each(named(decodable))('is passed on bit for bit: %s', (_name, { message }) => {
    const known = codec.encode(codec.decode(message, classForPython))
    const generic = codec.encode(codec.decode(message, () => undefined))

    expect(known.body).toBe(message.body)
    expect(generic.body).toBe(message.body)
  })

  const timed = decodable.filter(({ message }) => message.headers['occurred_at'] !== undefined)

  it.each(named(timed))(
    'keeps the microseconds of its header when it is passed on: %s',
    (_name, { message }) => {
      const { headers } = codec.encode(codec.decode(message, classForPython))

      expect(headers['occurred_at']).toBe(message.headers['occurred_at'])
    },
  )

  it.each(named(decodable))('has a key that is its aggregate id: %s', (_name, { message, event }) => {
    expect(codec.encode(codec.decode(message, classForPython)).key).toBe(event?.['aggregate_id'])
  })
})

describe('a captured dead letter that is not an event', () => {
  it.each([
    ['redis', 'dlq/undecodable', 'invalid_json'],
    ['kafka', 'dlq/unknown-type', 'not_an_event'],
    ['kafka', 'dlq/invalid-json', 'invalid_json'],
    ['kafka', 'dlq/not-utf8', 'invalid_utf8'],
  ] as const)('is a DecodeError: %s %s is %s', (system, name, reason) => {
    const { message } = captured(system, name)

    const decode = () => codec.decode(message, classForPython)

    expect(decode).toThrow(DecodeError)
    expect(decode).toThrow(expect.objectContaining({ code: 'DECODE_FAILED', reason }))
  })

  it('is one of exactly these four', () => {
    expect(allCapturedMessages.filter(({ event }) => event === null).map(({ name }) => name)).toEqual([
      'dlq/undecodable',
      'dlq/unknown-type',
      'dlq/invalid-json',
      'dlq/not-utf8',
    ])
  })
})

describe('headers of a decoded event', () => {
  const fromKafka = allCapturedMessages.filter(
    ({ system, kind, event }) => system === 'kafka' && kind === 'publish' && event !== null,
  )

  it.each(named(fromKafka))('are those of Kafka, to the millisecond: %s', (_name, { message }) => {
    const { headers } = codec.encode(codec.decode(message, classForPython))

    const expected = Object.entries(message.headers).filter(([name]) => name !== 'traceparent')
    expect(Object.keys(headers)).toEqual(expected.map(([name]) => name))
    expect({ ...headers, occurred_at: '' }).toEqual({ ...Object.fromEntries(expected), occurred_at: '' })
    expect(new Date(headers['occurred_at'] ?? '')).toEqual(new Date(message.headers['occurred_at'] ?? ''))
  })
})
