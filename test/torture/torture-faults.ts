import { setTimeout as delay } from 'node:timers/promises'
import { ACTIONS, type Action, degraded, EVERYBODY } from '../../src/verify/faults.ts'
import type { Broker } from '../brokers/broker.ts'

/** The faults that can hit a run. */
export const FAULTS = [
  'brokerKilled',
  'brokerRestarted',
  'brokerFrozen',
  'allConnectionsCut',
  'oneConnectionCut',
  'blackHole',
  'networkSlow',
  'networkBreaksInside',
  'consumerKilledBeforeAck',
  'consumerFrozenBeyondLease',
  'consumerFrozenShortly',
  'consumerBlocked',
  'handlerExits',
  'handlerHangs',
  'producerKilled',
  'consumerReplaced',
  'consumerAdded',
  'deadLettersReplayed',
] as const

export type FaultName = (typeof FAULTS)[number]

/** The faults of all runs, and those of a broker and a network of its own. */
export function actionsOn(broker: Broker): Readonly<Record<FaultName, Action>> {
  return {
    ...ACTIONS,

    brokerKilled: (scope, { stage }) =>
      scope.during(EVERYBODY, async () => {
        await broker.kill()
        await delay(stage.parts.random.integer(0, 2000))
        await broker.start()
      }),

    brokerRestarted: (scope) => scope.during(EVERYBODY, () => broker.restart()),

    brokerFrozen: (scope, { stage }) =>
      scope.during(EVERYBODY, async () => {
        await broker.freeze()
        await delay(stage.parts.random.integer(500, 5000))
        await broker.thaw()
      }),

    networkBreaksInside: (scope, { stage }) =>
      degraded(scope, stage, {
        latencyMs: 1,
        bytesPerSecond: Infinity,
        chunksPerReset: stage.parts.random.integer(20, 200),
      }),
  }
}
