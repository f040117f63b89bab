import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  defineEvent,
  firstVersion,
  GenericEvent,
  JsonCodec,
  type UpcastChain,
  type Upcasts,
} from '../../src/index.ts'

type Payload = Readonly<Record<string, number>>

const names = { type: 'Counted', aggregateType: 'Counter' }
const codec = new JsonCodec()

/** Steps that can be undone: they add to a field, rename fields, or add a field. */
const steps = [
  [
    (payload: Payload, by: number) => ({ ...payload, n: (payload['n'] ?? 0) + by }),
    (payload: Payload, by: number) => ({ ...payload, n: (payload['n'] ?? 0) - by }),
  ],
  [
    ({ n = 0, m = 0, ...rest }: Payload) => ({ ...rest, n: m, m: n }),
    ({ n = 0, m = 0, ...rest }: Payload) => ({ ...rest, n: m, m: n }),
  ],
  [
    (payload: Payload, by: number) => ({ ...payload, [`added${by}`]: by }),
    (payload: Payload, by: number) => {
      const { [`added${by}`]: _added, ...rest } = payload
      return rest
    },
  ],
] as const

const chains = fc.array(fc.tuple(fc.constantFrom(...steps), fc.integer({ min: 1, max: 99 })), {
  minLength: 1,
  maxLength: 8,
})
type Chain = readonly (readonly [(typeof steps)[number], number])[]

/** The class with these steps, which writes its events in a version. */
function classOf(chain: Chain, publishAs: number) {
  let upcasts = firstVersion<Payload>() as Upcasts<Payload>
  for (const [index, [[up, back], by]] of chain.entries()) {
    upcasts = upcasts.to(
      index + 2,
      (payload) => up(payload, by),
      (payload) => back(payload, by),
    )
  }
  return defineEvent<Payload>()({ ...names, publishAs, upcasts: upcasts as UpcastChain<Payload> })
}

const apply = (chain: Chain, payload: Payload) =>
  chain.reduce((given, [[up], by]) => up(given, by) as Payload, payload)

const payloads = fc.record({ n: fc.integer({ min: -100, max: 100 }), m: fc.integer({ min: -100, max: 100 }) })

/** The payload of a decoded event. */
function payloadOf(event: object): unknown {
  const { eventId: _id, ...wire } = JSON.parse(JSON.stringify(event))
  return Object.fromEntries(Object.entries(wire).filter(([key]) => /^(?:n|m|added\d+)$/.test(key)))
}

it('upcasts from each version as all its steps one after the other do', () => {
  const property = fc.property(chains, payloads, (chain, payload) => {
    const current = classOf(chain, chain.length + 1)
    for (const [from] of [...chain, undefined].entries()) {
      const data = apply(chain.slice(0, from), payload)
      const old = new GenericEvent({
        eventType: names.type,
        aggregateType: names.aggregateType,
        aggregateId: 'a',
        eventVersion: from + 1,
        data,
      })
      const event = codec.decode(codec.encode(old), () => current)
      expect([event.eventVersion, payloadOf(event)]).toEqual([chain.length + 1, apply(chain, payload)])
    }
  })
  fc.assert(property, { numRuns: 300 })
})

it('reads back what it writes in any earlier version', () => {
  const property = fc.property(chains, payloads, fc.nat(), (chain, payload, at) => {
    const version = (at % (chain.length + 1)) + 1
    const rolled = classOf(chain, version)
    const input = { aggregateId: 'a', ...apply(chain, payload) }
    const event = new rolled(input)
    const message = codec.encode(event)
    expect(JSON.parse(String(message.body))).toMatchObject({ event_version: version })
    expect(codec.decode(message, () => rolled)).toEqual(event)
  })
  fc.assert(property, { numRuns: 300 })
})
