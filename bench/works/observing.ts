// The cost of validation, causation, traces and metrics, compared with the same bus with everything off.
import type { BrokerOptions } from 'eventspine'
import { sized } from '../arguments.ts'
import type { BrokerBench } from '../broker-bench.ts'
import { compare, type Step } from '../harness.ts'
import { OrderCreated, UncheckedOrder } from '../order.ts'
import { startTelemetry } from '../telemetry.ts'
import { consuming } from './consume.ts'

const off = { enableTracing: false, enableMetrics: false, propagateCausation: false }
// The argument comes off the wire and has both fields.
const unchecked = UncheckedOrder as unknown as typeof OrderCreated

export function observingSteps(bench: BrokerBench): readonly Step[] {
  const count = sized(bench.counts.growth)
  const consume = (eventClass: typeof OrderCreated, options: BrokerOptions) => () =>
    consuming(bench, bench.ours, { count, eventClasses: [eventClass], options })
  const step = (name: string, options: BrokerOptions, body: typeof consume = consume) =>
    compare({
      work: `consume, ${name}, vs all off`,
      unit: 'events/s',
      ours: body(OrderCreated, options),
      raw: consume(unchecked, off),
    })
  return [
    step('validation only', off),
    step('tracing off', { enableTracing: false }),
    step('tracing, API only', {}),
    step('tracing with the SDK', {}, (eventClass, options) => async () => {
      await using telemetry = startTelemetry()
      return await consume(eventClass, { ...options, ...telemetry.recording })()
    }),
  ]
}
