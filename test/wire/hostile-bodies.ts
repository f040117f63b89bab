import fc from 'fast-check'
import { allCapturedMessages } from './captured.ts'

/** The body of a message that eventsource-py left on a broker. */
export const capturedBody = fc.constantFrom(
  ...allCapturedMessages.map(({ message }) => Buffer.from(message.body)),
)

const awkwardKey = fc.constantFrom(
  '__proto__',
  'constructor',
  'toJSON',
  'then',
  'metadata',
  'eventId',
  'data',
  'id',
)
const awkwardValue = fc.oneof(
  fc.jsonValue(),
  fc.bigInt().map(String),
  fc.constantFrom({}, [], null, -0, '', 1e308),
)
const capturedObject = fc.constantFrom(
  ...allCapturedMessages.flatMap(({ event }) => (event === null ? [] : [event])),
)
const cloudEvent = fc.constant({
  specversion: '1.0',
  id: 'e',
  source: '/s',
  type: 'OrderCancelled',
  data: { reason: 'r' },
})

/** An event with fields added or replaced, as JSON. */
export const changedObject = fc
  .tuple(
    fc.oneof(capturedObject, cloudEvent),
    fc.dictionary(fc.oneof(fc.string(), awkwardKey), awkwardValue),
    fc.nat(),
    awkwardValue,
  )
  .map(([event, added, index, value]) => {
    const keys = Object.keys(event)
    return JSON.stringify({ ...event, ...added, [keys[index % keys.length] ?? 'event_id']: value })
  })

/** A captured body with bytes changed or cut off. */
export const mutatedBytes = fc
  .tuple(capturedBody, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }), fc.nat())
  .map(([body, changes, cut]) => {
    const bytes = Uint8Array.from(body)
    for (const [at, value] of changes) bytes[at % bytes.length] = value
    return cut % 4 === 0 ? bytes.subarray(0, cut % bytes.length) : bytes
  })
