import type { Attributes, BatchObservableCallback, Meter, Observable } from '@opentelemetry/api'
import { settledWithin } from '../../kit/time.ts'
import type { GroupInfo } from '../../transport/admin.ts'

/** The value of a gauge for a group; undefined if the broker does not report it. */
type ReadGauge = (group: GroupInfo) => number | undefined

/** The gauges of all consumer groups, each with the function that reads it. */
export function createGroupGauges(meter: Meter): ReadonlyMap<Observable, ReadGauge> {
  const events = (description: string) => ({ description, unit: '{message}' })
  return new Map<Observable, ReadGauge>([
    [
      meter.createObservableGauge('eventspine.group.members', {
        description: 'Living consumers of a group, in all processes.',
        unit: '{consumer}',
      }),
      ({ members }) => members,
    ],
    [
      meter.createObservableGauge('eventspine.group.lag', events('Messages that wait for a group.')),
      ({ lag }) => lag,
    ],
    [
      meter.createObservableGauge(
        'eventspine.group.in_flight',
        events('Messages that the consumers of a group hold.'),
      ),
      ({ inFlight }) => inFlight,
    ],
    [
      meter.createObservableGauge('eventspine.group.oldest_unsettled', {
        description: 'Age of the oldest message that a group has not settled.',
        unit: 's',
      }),
      ageOf,
    ],
    [
      meter.createObservableGauge('eventspine.group.paused', {
        description: '1 if an operator has paused a group, 0 if not.',
        unit: '1',
      }),
      ({ paused }) => (paused === undefined ? 0 : 1),
    ],
    [
      meter.createObservableGauge(
        'eventspine.group.retries_waiting',
        events('Messages that the broker keeps during a long wait for a retry.'),
      ),
      ({ retriesWaiting }) => retriesWaiting,
    ],
    [
      meter.createObservableGauge(
        'eventspine.group.dead_letters',
        events('Dead letters of a group, and those that name no group.'),
      ),
      ({ deadLetters }) => deadLetters,
    ],
  ])
}

/** Maximum time that the collection of metrics waits for the broker, in milliseconds. */
const TIMEOUT_MS = 5000

/**
 * Reports all groups with each collection. If the broker does not answer in time, the collection has no group.
 * @returns a function that ends it.
 */
export function observeGroups(
  meter: Meter,
  shared: Attributes,
  readGroups: () => Promise<readonly GroupInfo[]>,
): () => void {
  const gauges = createGroupGauges(meter)
  const observables = [...gauges.keys()]
  const callback: BatchObservableCallback = async (result) => {
    for (const group of await withinTime(readGroups())) {
      const attributes = { ...shared, 'messaging.consumer.group.name': group.name }
      for (const [gauge, read] of gauges) {
        const value = read(group)
        if (value !== undefined) result.observe(gauge, value, attributes)
      }
    }
  }
  meter.addBatchObservableCallback(callback, observables)
  return () => meter.removeBatchObservableCallback(callback, observables)
}

async function withinTime(reading: Promise<readonly GroupInfo[]>): Promise<readonly GroupInfo[]> {
  const groups = reading.catch(() => [])
  return (await settledWithin(groups, TIMEOUT_MS)) ? groups : []
}

/** In seconds; 0 if nothing is unsettled, undefined if that is unknown. */
function ageOf({ oldestUnsettledAt, lag, inFlight }: GroupInfo): number | undefined {
  if (oldestUnsettledAt !== undefined) return Math.max(0, Date.now() - oldestUnsettledAt.getTime()) / 1000
  return lag === 0 && inFlight === 0 ? 0 : undefined
}
