import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineEvent, firstVersion, GenericEvent, JsonCodec } from '../../src/index.ts'
import { allCapturedMessages } from '../wire/captured.ts'

const codec = new JsonCodec()

/** Version 1 is what eventsource-py writes; later releases of this service renamed and converted fields. */
class OrderShipped extends defineEvent({
  type: 'OrderShipped',
  aggregateType: 'Order',
  schema: z.object({ tracking: z.object({ number: z.string(), carrier: z.string() }) }),
  upcasts: firstVersion(z.object({ tracking_number: z.string(), carrier: z.string().nullable() }))
    .to(
      2,
      ({ tracking_number: number, carrier }) => ({ number, carrier: carrier ?? 'unknown' }),
      ({ number, carrier }) => ({ tracking_number: number, carrier }),
    )
    .to(
      3,
      (tracking) => ({ tracking }),
      ({ tracking }) => tracking,
    ),
  publishAs: 1,
}) {}

/** eventsource-py writes it as version 2, under a name of its own. */
class CustomerRenamed extends defineEvent({
  type: 'CustomerRenamed',
  typeAliases: ['customer.renamed'],
  aggregateType: 'Customer',
  schema: z.object({ fullName: z.string() }),
  upcasts: firstVersion<{ name: string }>()
    .to(2, (v1) => v1)
    .to(3, ({ name }) => ({ fullName: name })),
}) {}

const captured = (eventType: string) =>
  allCapturedMessages.filter(({ kind, event }) => kind !== 'dlq' && event?.['event_type'] === eventType)

describe('events that eventsource-py wrote', () => {
  it.each(captured('OrderShipped'))('become the current class: OrderShipped, $system $name', (message) => {
    const event = codec.decode(message.message, () => OrderShipped)

    expect(event).toBeInstanceOf(OrderShipped)
    const { tracking_number: number, carrier } = message.event ?? {}
    expect(event).toMatchObject({ eventVersion: 3, tracking: { number, carrier: carrier ?? 'unknown' } })
    expect(codec.encode(event).body).toEqual(message.message.body)
  })

  it.each(captured('customer.renamed'))(
    'become the current class: customer.renamed, $system $name',
    (message) => {
      const event = codec.decode(message.message, () => CustomerRenamed)

      expect(event).toBeInstanceOf(CustomerRenamed)
      expect(event).toMatchObject({
        eventType: 'CustomerRenamed',
        eventVersion: 3,
        fullName: message.event?.['name'],
      })
    },
  )

  it('are there, of both types', () => {
    expect(captured('OrderShipped').length).toBeGreaterThan(0)
    expect(captured('customer.renamed').length).toBeGreaterThan(0)
  })

  it('have the form in which publishAs writes them back for eventsource-py', () => {
    const [message] = captured('OrderShipped')
    if (message === undefined) throw new Error('no captured message')
    const aggregateId = String(message.event?.['aggregate_id'])
    const event = new OrderShipped({ aggregateId, tracking: { number: 'T-1', carrier: 'DHL' } })
    const written = codec.decode(codec.encode(event), () => undefined)

    expect(written).toBeInstanceOf(GenericEvent)
    expect(written).toMatchObject({ eventVersion: 1, data: { tracking_number: 'T-1', carrier: 'DHL' } })
    expect(Object.keys(JSON.parse(String(codec.encode(event).body)))).toEqual(
      Object.keys(message.event ?? {}),
    )
  })
})
