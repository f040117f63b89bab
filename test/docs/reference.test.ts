import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { membersOf } from '../../scripts/reference/interfaces.ts'
import { optionRow } from '../../scripts/reference/option-row.ts'
import { referencePages } from '../../scripts/reference/pages.ts'
import { createGroupGauges } from '../../src/bus/admin/group-metrics.ts'
import { createInstruments, observe } from '../../src/bus/telemetry/metric-instruments.ts'
import { positiveInteger } from '../../src/kit/options.ts'
import { createSubscriptionInstruments } from '../../src/subscriptions/subscription-metrics.ts'

const pageOf = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')

it.each([...referencePages()])(
  'docs/%s is what `npm run docs:reference` generates from the source',
  (name, text) => {
    expect(pageOf(name)).toBe(text)
  },
)

it('refuses a default in the TSDoc that differs from the code', () => {
  const [maxRetries] = membersOf('src/aggregates/aggregate-repository.ts', 'RetryOnConflictOptions')
  if (maxRetries === undefined) throw new Error('the interface has no members')

  expect(optionRow(maxRetries, positiveInteger, 10)).toMatchObject({ name: '`maxRetries`', default: '10' })
  expect(() => optionRow(maxRetries, positiveInteger, 11)).toThrow(
    'the TSDoc of maxRetries states the default 10, and the code has 11',
  )
})

it('lists every metric with its kind and its unit', () => {
  const rows = [...pageOf('observability.md').matchAll(/^\| `([\w.]+)` \| ([\w -]+) \| `(\S+)` \|/gm)]

  expect(rows.map(([, name, kind, unit]) => ({ name, kind, unit })).toSorted(byName)).toEqual(
    metrics().toSorted(byName),
  )
})

interface Metric {
  readonly name: string | undefined
  readonly kind: string | undefined
  readonly unit: string | undefined
}

const byName = (a: Metric, b: Metric) => String(a.name).localeCompare(String(b.name))

/** The instruments that a bus creates. */
function metrics(): readonly Metric[] {
  const created: Metric[] = []
  const instrument = { addCallback: () => {}, removeCallback: () => {} }
  const creating = (kind: string) => (name: string, options: { readonly unit: string }) => {
    created.push({ name, kind, unit: options.unit })
    return instrument
  }
  const meter = {
    createCounter: creating('counter'),
    createHistogram: creating('histogram'),
    createObservableCounter: creating('observable counter'),
    createObservableUpDownCounter: creating('observable up-down counter'),
    createObservableGauge: creating('observable gauge'),
  }
  // The parts of a meter that a bus uses.
  const asMeter = meter as unknown as Parameters<typeof createInstruments>[0]
  createInstruments(asMeter)
  createGroupGauges(asMeter)
  createSubscriptionInstruments(asMeter)
  observe(
    asMeter,
    {},
    {
      inFlight: () => 0,
      skipped: () => 0,
      reconnections: () => 0,
      pausedHandlers: () => 0,
      isPaused: () => false,
      lag: () => Promise.resolve(undefined),
      waiting: () => Promise.resolve(undefined),
      oldestWaitingMs: () => Promise.resolve(undefined),
    },
  )
  return created
}
