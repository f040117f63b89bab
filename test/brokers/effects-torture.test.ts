import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { paced } from '../support/pace.ts'
import type { EffectFault } from '../torture/effects/program.ts'
import { tortureEffects } from '../torture/effects/run.ts'
import { launchTortureBroker, type TortureBroker } from '../torture/torture-broker.ts'

const timeout = paced(120_000)
const short = { bus: 'redis', orders: 60, seed: 3 } as const
let broker: TortureBroker

beforeAll(async () => {
  broker = await launchTortureBroker('redis')
})
afterAll(() => broker[Symbol.asyncDispose]())

it.each(['postgres', 'sqlite'] as const)(
  'has each effect once and in order, with %s, wherever a process is killed',
  { timeout },
  async (store) => {
    const place = store === 'postgres' && { postgresUrl: inject('postgresUrl') }
    const { violations, kills, unpublished } = await tortureEffects({
      ...{ ...short, port: broker.port, kills: 2 },
      ...place,
    })

    expect(violations).toEqual([])
    expect(kills).toEqual({ producer: 2, relay: 2, consumer: 2, projector: 2 })
    expect(unpublished).toBeLessThanOrEqual(1)
  },
)

/** This test proves that the judge can fail. */
it.each<[EffectFault, 'consumer' | 'relay', RegExp]>([
  ['twoTransactions', 'consumer', /has 2 effects/],
  ['checkpointFirst', 'relay', /has 0 effects/],
])('the torture fails effects with a planted fault: %s', { timeout }, async (fault, killed, words) => {
  const { violations } = await tortureEffects({
    ...{ ...short, port: broker.port, kills: 1, fault, killed: [killed] },
  })

  expect(violations).toContainEqual(expect.stringMatching(words))
})
