import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { runOutage } from '../support/handler-outage.ts'
import { paced } from '../support/pace.ts'
import { createBus, systems } from './every-bus.ts'

const OUTAGE_MS = 4000
const RATE_PER_SECOND = 100
const MAX_IN_FLIGHT = 200

it.each(systems)(
  'handles every event in order after a server that the handler calls was down, and dead-letters none, on %s',
  async (system) => {
    const scope = `test-${randomUUID().slice(0, 8)}`

    const report = await runOutage({
      createBus: (options) => createBus(system, scope, { maxInFlight: MAX_IN_FLIGHT, ...options }),
      outageMs: OUTAGE_MS,
      ratePerSecond: RATE_PER_SECOND,
    })

    expect(report).toMatchObject({ handled: report.published, outOfOrder: 0, deadLetters: 0 })
    expect(report.notices).toEqual(['handlerPaused', 'handlerResumed'])
    // The first delays between probes are 1, 2 and 4 seconds.
    expect(report.resumedAfterMs).toBeLessThan(paced(6000))
    expect(report.mostInFlight).toBeLessThanOrEqual(MAX_IN_FLIGHT)
  },
  paced(40_000),
)
