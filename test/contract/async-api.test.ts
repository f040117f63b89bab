import { expect, it } from 'vitest'
import { z } from 'zod'
import { asyncApiOf, contractOf, defineEvent, type EventClass, firstVersion } from '../../src/index.ts'
import { compareWithCodec, DESCRIBED } from './described-events.ts'

const options = { title: 'Orders', version: '1.0.0', channels: [{ bus: 'kafka', name: 'shop' }] } as const

/** The message of an event class, as the document describes it. */
function messageOf(eventClass: EventClass) {
  // The document is JSON.
  const document = JSON.parse(JSON.stringify(asyncApiOf(contractOf([eventClass]), options)))
  return document.components.messages[eventClass.eventType]
}

it.each(DESCRIBED)(
  'describes exactly the messages that the codec accepts: %s',
  (_what, eventClass, payloads) => {
    const { accepted, refused } = compareWithCodec(messageOf(eventClass).payload, eventClass, payloads)

    expect(Math.min(accepted, refused)).toBeGreaterThan(50)
  },
)

it('describes the version that is written', () => {
  const rolled = defineEvent({
    type: 'Moved',
    aggregateType: 'Customer',
    schema: z.object({ city: z.string() }),
    publishAs: 1,
    upcasts: firstVersion(z.object({ town: z.string() })).to(
      2,
      ({ town }) => ({ city: town }),
      ({ city }) => ({ town: city }),
    ),
  })
  const [, fixed, payload] = messageOf(rolled).payload.allOf

  expect(fixed.properties.event_version).toEqual({ const: 1 })
  expect(payload).toMatchObject({ properties: { town: { type: 'string' } }, required: ['town'] })
})

it('keeps no reference that the document could not resolve', () => {
  const tree: z.ZodObject = z.object({ name: z.string(), children: z.array(z.lazy(() => tree)).optional() })
  const message = messageOf(defineEvent({ type: 'Grown', aggregateType: 'Tree', schema: tree as never }))

  expect(JSON.stringify(message)).not.toContain('$ref')
  expect(message.payload.allOf[2].properties.name).toEqual({ type: 'string' })
})
