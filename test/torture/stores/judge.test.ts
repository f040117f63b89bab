import { expect, it } from 'vitest'
import type { StoreFact, TimedFact } from './facts.ts'
import { judgeStores, type TableEvent } from './judge.ts'

const RULES = { handlers: { s: ['flaky'] }, maxRetries: 2, repeatedPerFault: 1 }

const stored = (id: string, version: number, failures = 0): TableEvent => ({
  id,
  stream: 'a',
  version,
  failures,
})

const handled = (id: string): StoreFact => ({ kind: 'handled', subscription: 's', handler: 'flaky', id })

const TABLE = [stored('e1', 1), stored('e2', 2), stored('e3', 3, 99)]
const GOOD: readonly StoreFact[] = [
  { kind: 'stored', ids: ['e1', 'e2', 'e3'] },
  { kind: 'notStored', ids: ['undone'] },
  { kind: 'unknown', ids: ['e1', 'never'] },
  handled('e1'),
  { kind: 'fault', name: 'subscriberKilled' },
  handled('e1'),
  handled('e2'),
  { kind: 'parked', subscription: 's', id: 'e3' },
  { kind: 'ended', process: 'p', exitCode: 0, output: '' },
]

const judge = (facts: readonly StoreFact[], table: readonly TableEvent[] = TABLE) =>
  judgeStores(
    facts.map((fact, at): TimedFact => ({ ...fact, at })),
    table,
    RULES,
  )

it('finds no violation in a run that keeps its guarantees', () => {
  expect(judge(GOOD)).toEqual([])
})

it.each<[string, readonly StoreFact[], RegExp]>([
  [
    'a confirmed event that is not stored',
    [...GOOD, { kind: 'stored', ids: ['x'] }],
    /confirmed event is missing/,
  ],
  ['an event that was rolled back', [...GOOD, { kind: 'notStored', ids: ['e2'] }], /was rolled back/],
  [
    'an event that a handler never got',
    GOOD.filter((fact) => !('id' in fact && fact.id === 'e2')),
    /lost an event/,
  ],
  ['a poisonous event that is not parked', GOOD.filter(({ kind }) => kind !== 'parked'), /lost an event/],
  ['an event that is not stored', [...GOOD, handled('ghost')], /handled an event that is not stored/],
  [
    'two events in another order',
    [...GOOD.slice(0, 3), handled('e2'), ...GOOD.slice(3)],
    /before an earlier one/,
  ],
  ['more repetitions than faults', [...GOOD, handled('e2')], /handled 2 events again at 1 faults/],
  [
    'a subscription that does not catch up',
    [...GOOD, { kind: 'unsettled', subscription: 's' }],
    /did not catch up/,
  ],
  [
    'a process that does not end by itself',
    [...GOOD, { kind: 'ended', process: 'p', exitCode: null, output: '' }],
    /p ended with null/,
  ],
])('finds %s', (_what, facts, words) => {
  expect(judge(facts)).toContainEqual(expect.stringMatching(words))
})

it('finds versions with a gap, and an event that is stored twice', () => {
  expect(judge(GOOD, [...TABLE, stored('e4', 5)])).toContainEqual(
    expect.stringMatching(/version 5 out of order/),
  )
  expect(judge(GOOD, [...TABLE, stored('e2', 4)])).toContainEqual(expect.stringMatching(/stored twice/))
})
