import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { EventValidationError, GenericEvent } from '../../src/index.ts'

const input = {
  eventType: 'invoice.sent',
  aggregateType: 'Invoice',
  aggregateId: 'INV-1',
  eventId: 'e-1',
  correlationId: 'c-1',
  occurredAt: new Date('2025-01-02T03:04:05Z'),
  data: { lines: [{ sku: 'SKU-1' }], total: 12n },
}

describe('GenericEvent', () => {
  it('keeps the payload of an unknown type in data', () => {
    const event = new GenericEvent(input)

    expect(event).toMatchObject({ eventType: 'invoice.sent', aggregateType: 'Invoice', eventVersion: 1 })
    expect(event.data).toEqual({ lines: [{ sku: 'SKU-1' }], total: 12 })
  })

  it('is deeply immutable', () => {
    const { data } = new GenericEvent(input)

    expect(() => Object.assign(data, { total: 0 })).toThrow(TypeError)
    expect(() => Object.assign(data['lines'] as object, { 0: 'x' })).toThrow(TypeError)
  })

  it('refuses a field beside data that no envelope has', () => {
    expect(() => new GenericEvent({ ...input, total: 3, tenantID: 't' } as never)).toThrow(
      expect.objectContaining({
        issues: ['total', 'tenantID'].map((path) => ({
          path,
          rule: 'is not a field of the envelope; put it into data',
        })),
      }),
    )
  })

  it('has envelope and payload at the same level on the wire', () => {
    const event = new GenericEvent(input)

    expect(JSON.stringify(event)).toBe(
      '{"event_id":"e-1","event_type":"invoice.sent","event_version":1,"occurred_at":"2025-01-02T03:04:05Z",' +
        '"aggregate_id":"INV-1","aggregate_type":"Invoice","aggregate_version":1,"tenant_id":null,' +
        '"actor_id":null,"correlation_id":"c-1","causation_id":null,"metadata":{},' +
        '"lines":[{"sku":"SKU-1"}],"total":12}',
    )
  })

  it('makes copies like every event', () => {
    const copy = new GenericEvent(input).withMetadata({ a: 1 }).withAggregateVersion(3)

    expect(copy).toBeInstanceOf(GenericEvent)
    expect(copy).toMatchObject({
      metadata: { a: 1 },
      aggregateVersion: 3,
      data: { lines: [{ sku: 'SKU-1' }], total: 12 },
    })
  })

  it('prints its class and data', () => {
    expect(inspect(new GenericEvent(input))).toMatch(/^GenericEvent \{.*data: \{/s)
  })

  it.each([
    [{ eventType: '' }, 'GenericEvent is not valid: eventType: must be a non-empty string'],
    [{ aggregateType: undefined }, 'GenericEvent is not valid: aggregateType: must be a non-empty string'],
    [{ data: undefined }, 'invoice.sent is not valid: data: must be a plain object, got undefined'],
    [{ data: [1] }, 'invoice.sent is not valid: data: must be a plain object, got an array of 1'],
    [{ eventVersion: 0 }, 'invoice.sent is not valid: eventVersion: must be an integer of at least 1, got 0'],
  ])('rejects %o in one sentence', (wrong, message) => {
    const construct = () => new GenericEvent({ ...input, ...wrong } as typeof input)

    expect(construct).toThrow(EventValidationError)
    expect(construct).toThrow(message)
  })

  it('is never written with a field that hides one of the envelope', () => {
    const event = new GenericEvent({ ...input, data: { event_id: 'e-2' } })

    expect(() => JSON.stringify(event)).toThrow(
      'invoice.sent is not valid: data.event_id: cannot be written as JSON',
    )
  })
})
