import { CloudEvent, HTTP } from 'cloudevents'
import { describe, expect, it } from 'vitest'
import { CloudEventsCodec, ConfigError, DecodeError, GenericEvent, JsonCodec } from '../../src/index.ts'
import { OrderCreated } from '../support/order-events.ts'

const codec = new CloudEventsCodec({ source: '/orders' })
const classFor = (eventType: string) => (eventType === 'OrderCreated' ? OrderCreated : undefined)
const strict = true

const created = () =>
  new OrderCreated({
    aggregateId: 'Order-1',
    customerId: 'c-1',
    aggregateVersion: 3,
    occurredAt: new Date('2025-01-02T03:04:05.678Z'),
    tenantId: 't-1',
    actorId: 'user:zoë',
    causationId: 'e-0',
    metadata: { source: 'web', nested: [1, null] },
  })

/** The body as the package `cloudevents` reads it from an HTTP request in structured mode. */
function readByCloudEvents(body: string | Uint8Array): CloudEvent<unknown> {
  const read = HTTP.toEvent<unknown>({
    headers: { 'content-type': 'application/cloudevents+json' },
    body: body.toString(),
  })
  if (Array.isArray(read)) throw new Error('one event was expected, not a batch')
  return read as CloudEvent<unknown>
}

describe('what CloudEventsCodec writes', () => {
  it('is a strictly valid CloudEvent 1.0 for the package cloudevents', () => {
    const event = created()

    const read = readByCloudEvents(codec.encode(event).body)

    expect(read.validate()).toBe(true)
    expect(new CloudEvent(read.toJSON(), strict).toJSON()).toMatchObject({
      specversion: '1.0',
      id: event.eventId,
      source: '/orders',
      type: 'OrderCreated',
      subject: 'Order-1',
      time: '2025-01-02T03:04:05.678Z',
      datacontenttype: 'application/json',
      aggregatetype: 'Order',
      aggregateversion: 3,
      eventversion: 1,
      correlationid: event.correlationId,
      data: { customerId: 'c-1' },
    })
  })

  it('is strictly valid for an event without optional fields', () => {
    const { body, contentType } = codec.encode(new OrderCreated({ aggregateId: '1', customerId: 'c' }))

    expect(new CloudEvent(JSON.parse(body.toString()), strict).validate()).toBe(true)
    expect(contentType).toBe('application/cloudevents+json')
  })

  it('decodes to an equal event', () => {
    const event = created()

    const decoded = codec.decode(codec.encode(event), classFor)

    expect(decoded).toBeInstanceOf(OrderCreated)
    expect({ ...decoded }).toEqual({ ...event })
  })

  it('is unchanged after the package cloudevents has read and written it', () => {
    const event = created()
    const { body } = HTTP.structured(readByCloudEvents(codec.encode(event).body))

    const decoded = codec.decode({ headers: {}, body: String(body) }, classFor)

    expect({ ...decoded }).toEqual({ ...event })
  })

  it('keeps digits beyond 2^53', () => {
    const data = { total: 9007199254740993n }
    const event = new GenericEvent({ eventType: 'T', aggregateType: 'A', aggregateId: '1', data })

    const encoded = codec.encode(event)
    const decoded = codec.decode(encoded, classFor)

    expect(encoded.body).toContain('"total":9007199254740993')
    expect(decoded).toMatchObject({ data })
  })
})

describe("another producer's CloudEvent", () => {
  const foreign = new CloudEvent(
    { id: 'A234-1234', source: '/sensors/7', type: 'com.example.measured', data: { celsius: 21.5 } },
    strict,
  )
  const message = { headers: {}, body: JSON.stringify(foreign) }

  it('becomes a GenericEvent with its source as aggregate type and its id as aggregate id', () => {
    const decoded = codec.decode(message, classFor)

    expect(decoded).toBeInstanceOf(GenericEvent)
    expect(decoded).toMatchObject({
      eventId: 'A234-1234',
      eventType: 'com.example.measured',
      aggregateId: 'A234-1234',
      aggregateType: '/sensors/7',
      aggregateVersion: 1,
      correlationId: 'A234-1234',
      data: { celsius: 21.5 },
    })
  })

  it('is passed on bit for bit', () => {
    expect(codec.encode(codec.decode(message, classFor)).body).toBe(message.body)
  })

  it('has the subject, if any, as its aggregate id', () => {
    const body = JSON.stringify(foreign.cloneWith({ subject: 'probe-3' }))

    expect(codec.decode({ headers: {}, body }, classFor).aggregateId).toBe('probe-3')
  })

  it('is written again by another codec', () => {
    const { body } = new JsonCodec().encode(codec.decode(message, classFor))

    expect(body).toMatch(
      /^\{"event_id":"A234-1234","event_type":"com\.example\.measured".*,"celsius":21\.5\}$/,
    )
  })
})

describe('a message that is not a CloudEvent', () => {
  const valid = { specversion: '1.0', id: 'e', source: '/s', type: 'T', data: {} }

  it.each([
    ['no specversion', { ...valid, specversion: undefined }, 'not_an_event'],
    ['an older specversion', { ...valid, specversion: '0.3' }, 'not_an_event'],
    ['no id', { ...valid, id: undefined }, 'not_an_event'],
    ['a type that is a number', { ...valid, type: 5 }, 'not_an_event'],
    ['a time that is no time', { ...valid, time: 'yesterday' }, 'not_an_event'],
    ['data that is no object', { ...valid, data: 'text' }, 'not_an_event'],
    ['metadata that is no JSON', { ...valid, eventmetadata: '{' }, 'invalid_json'],
    ['data that fails the schema', { ...valid, type: 'OrderCreated', data: { customerId: 1 } }, 'schema'],
  ])('%s is a DecodeError', (_what, body, reason) => {
    const decode = () => codec.decode({ headers: {}, body: JSON.stringify(body) }, classFor)

    expect(decode).toThrow(DecodeError)
    expect(decode).toThrow(expect.objectContaining({ reason }))
  })

  it('a codec without a source is refused in one sentence', () => {
    const construct = () => new CloudEventsCodec({ source: '' })

    expect(construct).toThrow(ConfigError)
    expect(construct).toThrow('CloudEventsCodec: source must be a non-empty URI reference, got ""')
  })
})
