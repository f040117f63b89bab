import { expect, it } from 'vitest'
import type { DeadLetterFact, Fact } from '../../src/verify/history.ts'
import { report } from '../../src/verify/judge.ts'
import { judgeTorture } from './torture-judge.ts'
import type { TortureRules } from './torture-rules.ts'

const OPTIONS: TortureRules = {
  groups: [{ name: 'g', handlers: ['h'], order: 'group' }],
  maxAttempts: 3,
  maxInFlight: 2,
  ackMs: 100,
  takeoverMs: 0,
  recoveryMs: 5000,
  silenceMs: 8000,
  balanceMs: 1000,
  heapGrowthBytes: 1000,
}
const COMPETING = { ...OPTIONS, groups: [{ name: 'g', handlers: ['h'], order: 'consumer' as const }] }

function published(
  n: number,
  at: number,
  outcome: 'confirmed' | 'notStored' | 'unknown' = 'confirmed',
): Fact[] {
  const event = { process: 'p', event: `a#${n}`, aggregate: 'a', n }
  return [
    { kind: 'published', at, ...event },
    { kind: outcome, at: at + 1, ...event },
  ]
}

interface RunOptions {
  readonly process?: string
  readonly attempt?: number
  readonly outcome?: 'finished' | 'failed'
  readonly forMs?: number
}

function run(n: number, at: number, options: RunOptions = {}): Fact[] {
  const { process = 'c', attempt = 1, outcome = 'finished', forMs = 10 } = options
  const fact = { process, group: 'g', handler: 'h', event: `a#${n}`, aggregate: 'a', n, attempt }
  return [
    { kind: 'started', at, ...fact },
    { kind: outcome, at: at + forMs, ...fact },
  ]
}

function fault(from: number, to: number, targets: readonly string[] = ['*'], isPlanned = false): Fact[] {
  const fact = { process: 'run', fault: `fault at ${from}`, targets, isPlanned }
  return [
    { kind: 'faultStarted', at: from, ...fact },
    { kind: 'faultEnded', at: to, ...fact },
  ]
}

function letter(n: number, at: number, reason = 'max_retries_exceeded'): DeadLetterFact {
  const event = { event: `a#${n}`, aggregate: 'a', n }
  return {
    kind: 'deadLettered',
    at,
    process: 'run',
    ...event,
    group: 'g',
    handlers: ['h'],
    attempts: 3,
    reason,
  }
}

function failing(n: number, at: number): Fact[] {
  return [1, 2, 3].flatMap((attempt) => run(n, at + 20 * attempt, { attempt, outcome: 'failed' }))
}

const NO_STATS = {
  eventsPublished: 0,
  eventsConsumed: 0,
  eventsProcessedSuccess: 0,
  eventsProcessedFailed: 0,
  handlerErrors: 0,
  messagesSentToDlq: 0,
  inFlight: 0,
}

function life(
  name: string,
  stats: Partial<typeof NO_STATS>,
  end: { exitCode?: number; heap?: number; handles?: Readonly<Record<string, number>> } = {},
): Fact[] {
  const { exitCode = 0, heap = 0, handles = {} } = end
  return [
    { kind: 'consuming', at: 0, process: name, group: 'g' },
    {
      kind: 'stats',
      at: 90_000,
      process: name,
      stats: { ...NO_STATS, ...stats },
      heapBefore: 0,
      heapAfter: heap,
      handlesBefore: { PipeWrap: 1 },
      handlesAfter: { PipeWrap: 1, ...handles },
    },
    { kind: 'processEnded', at: 90_001, process: name, exitCode, wasKilled: false, output: 'last words' },
  ]
}

function messages(facts: readonly Fact[], options = OPTIONS): readonly string[] {
  return judgeTorture(facts, options).map(({ rule, message }) => `${rule}: ${message}`)
}

const clean = [
  ...published(0, 0),
  ...published(1, 10),
  ...published(2, 20),
  ...run(0, 30),
  ...run(1, 50),
  ...run(2, 70),
]

it('finds nothing in a correct history', () => {
  expect(messages(clean)).toEqual([])
})

it('finds nothing if failures were retried and dead-lettered after the last attempt', () => {
  const history = [...published(0, 0), ...published(1, 5), ...failing(0, 20), letter(0, 95), ...run(1, 100)]

  expect(messages(history)).toEqual([])
})

it('finds nothing if a process was killed and another repeated its events in flight', () => {
  const history = [
    ...published(0, 0),
    ...run(0, 10),
    ...fault(15, 25, ['c']),
    ...run(0, 5000, { process: 'd' }),
  ]

  expect(messages(history)).toEqual([])
})

it('finds nothing if a dead letter was replayed after later events', () => {
  const failed = [...published(0, 0), ...published(1, 5), ...failing(0, 20), ...run(1, 100)]
  const replayed: Fact = { ...letter(0, 95), kind: 'replayed', at: 200 }

  expect(messages([...failed, replayed, ...run(0, 210, { process: 'd' })])).toEqual([])
  expect(messages([...failed, letter(0, 95), ...run(0, 210, { process: 'd' })])).toHaveLength(1)
})

it('finds nothing if an event of unknown outcome was handled, or was not', () => {
  expect(messages([...published(0, 0, 'unknown'), ...run(0, 10), ...published(1, 20, 'unknown')])).toEqual([])
})

it('catches a confirmed event that never arrived', () => {
  expect(messages([...clean, ...published(3, 100)])).toEqual(['lost: a#3 never reached g h'])
})

it('catches an event that was started and never finished', () => {
  expect(messages([...clean, ...published(3, 100), ...run(3, 110).slice(0, 1)])).toEqual([
    'lost: a#3 never reached g h',
  ])
})

it('catches an event that was never published', () => {
  expect(messages([...clean, ...run(7, 200)])).toEqual(['invented: h got a#7, which was never published'])
})

it('catches an event that was handled although its publish reported it as not stored', () => {
  expect(messages([...published(0, 0, 'notStored'), ...run(0, 10)])).toEqual([
    'invented: h got a#0, which was "certainly not stored"',
  ])
})

it('catches two events of an aggregate that were swapped', () => {
  const history = [...published(0, 0), ...published(1, 1), ...run(1, 10), ...run(0, 30)]

  expect(messages(history)).toEqual(['order: a#0 was first handled after a#1 (group g, c)'])
})

it('catches an event that overtook one that was being retried', () => {
  const history = [
    ...published(0, 0),
    ...published(1, 1),
    ...run(0, 10, { outcome: 'failed' }),
    ...run(1, 40),
    ...run(0, 60, { attempt: 2 }),
  ]

  expect(messages(history)).toEqual(['order: a#1 overtook a#0, which was not settled (group g, c)'])
})

it('accepts that a broker that died has forgotten an event that it delivered and never confirmed', () => {
  const overtaken = [...run(0, 10, { outcome: 'failed' }), ...published(1, 1), ...run(1, 40)]
  const forgotten = [...published(0, 0, 'unknown'), ...overtaken, ...fault(15, 30)]

  expect(messages(forgotten)).toEqual([])
  const catches = ['order: a#1 overtook a#0, which was not settled (group g, c)']
  expect(messages([...forgotten, ...run(0, 60, { attempt: 2 })])).toEqual(catches)
  expect(messages([...published(0, 0, 'unknown'), ...overtaken])).toEqual(catches)
  expect(messages([...published(0, 0, 'unknown'), ...overtaken, ...fault(15, 30, ['c'])])).toEqual(catches)
  expect(messages([...published(0, 0), ...overtaken, ...fault(15, 30)])).toEqual(
    expect.arrayContaining(catches),
  )
})

it('catches two events of an aggregate that were handled concurrently', () => {
  const history = [...published(0, 0), ...published(1, 1), ...run(0, 10, { forMs: 50 }), ...run(1, 30)]

  expect(messages(history)).toEqual(['order: a#1 overtook a#0, which was not settled (group g, c)'])
})

it('accepts competing consumers that handle an aggregate concurrently, if none of them swaps events', () => {
  const both = [...published(0, 0), ...published(1, 1)]

  expect(messages([...both, ...run(1, 10), ...run(0, 12, { process: 'd' })], COMPETING)).toEqual([])
  expect(messages([...both, ...run(1, 10), ...run(0, 30)], COMPETING)).toHaveLength(1)
  expect(messages([...both, ...run(1, 10), ...fault(15, 20, ['d'], true), ...run(0, 30)], COMPETING)).toEqual(
    [],
  )
})

it('accepts that a broker delivers an event to a connection that has just been cut', () => {
  const swapped = [...published(0, 1000), ...published(1, 1001), ...run(1, 1010), ...run(0, 1030)]

  expect(messages([...fault(990, 991, ['d']), ...swapped], COMPETING)).toEqual([])
  expect(messages([...fault(800, 801, ['d']), ...swapped], COMPETING)).toHaveLength(1)
  expect(messages([...fault(990, 991, ['d']), ...swapped])).toHaveLength(1)
})

it('catches an event that was handled twice without a fault', () => {
  expect(messages([...clean, ...run(2, 200)])).toEqual([
    'duplicate: h of g handled a#2 twice without a fault (c, then c)',
  ])
})

it('does not accept a later fault, one of another process or a planned one as a reason for handling twice', () => {
  const again = run(2, 5000, { process: 'd' })

  expect(messages([...clean, ...fault(1000, 1001), ...again])).toHaveLength(1)
  expect(messages([...clean, ...fault(75, 80, ['e']), ...again])).toHaveLength(1)
  expect(messages([...clean, ...fault(75, 80, ['c'], true), ...again])).toHaveLength(1)
  expect(messages([...clean, ...fault(75, 80, ['c']), ...again])).toEqual([])
})

it('catches more duplicates than were in flight', () => {
  const again = [0, 1, 2].flatMap((n) => run(n, 1000 + 20 * n, { process: 'd' }))

  expect(messages([...clean, ...fault(75, 80), ...again])).toEqual([
    'duplicate: 3 events were handled twice after fault at 75 in c of g, but only 2 could be in flight',
  ])
})

it('catches an attempt too many', () => {
  const history = [
    ...published(0, 0),
    ...failing(0, 20),
    ...run(0, 200, { attempt: 4, outcome: 'failed' }),
    letter(0, 210),
  ]

  expect(messages(history)).toEqual([
    'attempts: h got attempt 4 at a#0',
    'attempts: h of g failed 4 times for a#0, more than 3 times',
  ])
})

it('does not accept a planned stop as a reason for an extra attempt, unless it interrupted one', () => {
  const event = published(0, 0)
  const stop = fault(35, 40, ['c'], true)
  const first = run(0, 10, { outcome: 'failed' })
  const end = [...failing(0, 50), letter(0, 125)]

  expect(messages([...event, ...first, ...stop, ...end])).toEqual([
    'attempts: h of g failed 4 times for a#0, more than 3 times',
  ])
  expect(messages([...event, ...run(0, 30).slice(0, 1), ...stop, ...end])).toEqual([])
})

it('accepts one attempt less only if a fault hit the group while the event was handled', () => {
  const event = published(0, 0)
  const less = failing(0, 20).filter((fact) => 'attempt' in fact && fact.attempt > 1)
  const members = ['c', 'd'].map((process): Fact => ({ kind: 'consuming', at: 0, process, group: 'g' }))
  const stranger: Fact = { kind: 'consuming', at: 0, process: 'e', group: 'other' }
  const after = (...facts: readonly Fact[]) =>
    messages([...members, stranger, ...event, ...less, letter(0, 95), ...facts]).filter((it) =>
      it.startsWith('attempts'),
    )
  const early = ['attempts: a#0 of g was dead-lettered by h after 2 of 3 attempts']

  expect(after()).toEqual(early)
  expect(after(...fault(2, 3, ['d']))).toEqual([])
  expect(after(...fault(2, 3))).toEqual([])
  expect(after(...fault(-9, -8))).toEqual(early)
  const onKafka = messages([...event, ...fault(-9, -8), ...less, letter(0, 95)], {
    ...OPTIONS,
    takeoverMs: 20,
  })
  expect(onKafka).toEqual([])
  expect(after(...fault(200, 201))).toEqual(early)
  expect(after(...fault(2, 3, ['e']))).toEqual(early)
  expect(after(...fault(2, 3, ['d'], true))).toEqual(early)
})

it('accepts a second dead letter only if a fault hit while the first was stored', () => {
  const gone = [...published(0, 0), ...failing(0, 20), letter(0, 92)]
  const again = [...failing(0, 1000), letter(0, 1075)]

  expect(messages([...gone, ...fault(95, 100), ...again])).toEqual([])
  expect(messages([...gone, letter(0, 93), ...fault(95, 100), ...again])).toEqual([])
  expect(messages([...gone, letter(0, 93), letter(0, 94), ...fault(95, 100), ...again])).toContain(
    'attempts: a#0 of g is in the dead letters 4 times',
  )
  expect(messages([...gone, ...fault(300, 301), ...again])).toContain(
    'attempts: a#0 of g is in the dead letters 2 times',
  )
})

it('compares the times of processes by whole milliseconds', () => {
  // The third event of a batch: the consumer runs it before the clock of the publisher has shown its time.
  const event = published(0, 0.003)

  expect(messages([...event, ...failing(0, 0), letter(0, 75)])).toEqual([])
})

it('catches a failure with two dead letters, too few attempts, a wrong reason, or a success as well', () => {
  const failed = [...published(0, 0), ...failing(0, 20)]

  expect(messages([...failed, letter(0, 95), letter(0, 95)])).toEqual([
    'attempts: a#0 of g is in the dead letters 2 times',
  ])
  expect(messages([...published(0, 0), ...run(0, 10, { outcome: 'failed' }), letter(0, 25)])).toEqual([
    'attempts: a#0 of g was dead-lettered by h after 1 of 3 attempts',
  ])
  expect(messages([...failed, letter(0, 95, 'deserialization_error')])).toEqual([
    'attempts: a#0 of g was dead-lettered for deserialization_error',
  ])
  expect(messages([...failed, letter(0, 95), ...run(0, 150)])).toEqual([
    'attempts: a#0 of g was handled by h and dead-lettered',
  ])
})

/** One event every 100 ms for a minute, handled at once except in the given periods. */
function load(isHandledAt: (at: number) => boolean, otherwiseAt = (n: number) => 70_000 + 20 * n): Fact[] {
  const pauses = Array.from({ length: 600 }, (_, n) => ({ n, at: 100 * n }))
  let last = 0
  return pauses.flatMap(({ n, at }) => {
    const handledAt = isHandledAt(at) ? at + 5 : otherwiseAt(n)
    last = Math.max(handledAt, last + 20)
    return [...published(n, at), ...run(n, last)]
  })
}

it('catches a group that does not continue after a fault', () => {
  expect(messages([...load((at) => at < 20_000), ...fault(20_000, 21_000)])).toEqual([
    'recovery: g recovered 53000 ms after fault at 20000',
  ])
})

it('catches a consumer that stops while others work', () => {
  const work = load(() => true)
  const silent = life('d', {}).slice(0, 1)
  const ended: Fact = {
    kind: 'processEnded',
    at: 80_000,
    process: 'd',
    exitCode: 0,
    wasKilled: true,
    output: '',
  }

  expect(messages([...work, ...silent, ended])).toEqual([
    'recovery: d handled nothing for 59899 ms, more than 8000 ms',
  ])
})

/** Three workers of the group. From `idleFrom` to `idleTo`, only the first one handles events. */
function sharing(idleFrom: number, idleTo: number): Fact[] {
  const all = Array.from({ length: 500 }, (_, n) => {
    const isIdle = n * 20 >= idleFrom && n * 20 < idleTo
    const worker = isIdle ? 'c' : (['c', 'd', 'e'][n % 3] ?? 'c')
    return [...published(n, n * 20), ...run(n, n * 20 + 5, { process: worker })]
  })
  const consuming = (name: string): Fact => ({ kind: 'consuming', at: -2000, process: name, group: 'g' })
  return [...['c', 'd', 'e'].map(consuming), ...all.flat()]
}

function shares(facts: readonly Fact[]): readonly string[] {
  return messages(facts).filter((text) => text.startsWith('share'))
}

it('catches a worker that is idle while another one handles more than twice its share', () => {
  const found = /^share: [de] was idle for \d+ ms while c handled \d+ of \d+ events$/

  expect(shares(sharing(0, 0))).toEqual([])
  const wrong = shares(sharing(5000, 8000))
  expect(wrong.length).toBeGreaterThan(0)
  for (const text of wrong) expect(text).toMatch(found)
})

it('allows a worker to be idle for `balanceMs` after a fault, and if it gets no CPU', () => {
  const OF_GROUP = ['d']
  const late = ['d', 'e'].map(
    (process): Fact => ({ kind: 'late', process, at: 9500, ms: 9000, overMs: 9400 }),
  )

  expect(shares([...sharing(5000, 6000), ...fault(4950, 5000, OF_GROUP)])).toEqual([])
  expect(shares([...sharing(0, 10_000), ...late])).toEqual([])
  expect(shares([...sharing(5000, 9000), ...fault(4950, 5000, OF_GROUP)])).not.toEqual([])
})

it('finds nothing if an event that cannot be decoded is dead-lettered, and catches one that is handled or lost', () => {
  const poison = published(0, 0).map((fact): Fact => ({ ...fact, ...{ isPoison: true } }))
  const buried = { ...letter(0, 20, 'deserialization_error'), handlers: [], attempts: 0 }

  expect(messages([...poison, buried])).toEqual([])
  expect(messages(poison)).toEqual([expect.stringContaining('lost: a#0')])
  expect(messages([...poison, ...run(0, 10), buried])).toEqual([
    expect.stringContaining('which cannot be decoded'),
  ])
  expect(messages([...poison, { ...buried, reason: 'max_retries_exceeded' }])).toEqual([
    expect.stringContaining('was dead-lettered for max_retries_exceeded'),
  ])
  // Its dead letters are found late. Their facts do not say when they were stored.
  const twice = [...poison, buried, buried].map((fact) => (fact === buried ? { ...buried, at: 900 } : fact))
  expect(messages([...twice, ...fault(1, 2)])).toEqual([])
  expect(messages([...twice, ...fault(500, 501)])).toEqual([
    'attempts: a#0 of g is in the dead letters 2 times',
  ])
})

it('catches a publish that was never answered', () => {
  expect(messages([...clean, ...published(3, 100).slice(0, 1)])).toEqual([
    'recovery: the publish of a#3 never settled',
  ])
})

it('catches counters that do not match the history', () => {
  const right = { eventsConsumed: 3, eventsProcessedSuccess: 3 }

  expect(messages([...clean, ...life('c', right)])).toEqual([])
  expect(messages([...clean, ...life('c', { ...right, handlerErrors: 1 })])).toEqual([
    'conduct: c: handlerErrors 1, and 0 runs failed',
  ])
  expect(messages([...clean, ...life('c', { eventsConsumed: 2, eventsProcessedSuccess: 2 })])).toEqual([
    'conduct: c: eventsProcessedSuccess 2, and 3 runs finished',
  ])
  expect(messages([...clean, ...life('c', { ...right, inFlight: 1 })])).toEqual([
    'conduct: c: inFlight 1 after the shutdown',
  ])
  expect(messages([...clean, ...life('p', {})])).toContain(
    'conduct: p: eventsPublished 0, and 3 were confirmed',
  )
})

it('catches growing memory, and a process that failed or did not exit', () => {
  const right = { eventsConsumed: 3, eventsProcessedSuccess: 3 }

  expect(messages([...clean, ...life('c', right, { heap: 1001 })])).toEqual([
    'conduct: c: memory grew by 1001 bytes',
  ])
  expect(messages([...clean, ...life('c', right, { exitCode: 1 })])).toEqual([
    'conduct: c ended with 1: last words',
  ])
  expect(messages([...clean, ...life('c', right).slice(0, 2)])).toEqual([
    'conduct: c did not exit on its own',
  ])
})

it('catches a handle that was left open', () => {
  const right = { eventsConsumed: 3, eventsProcessedSuccess: 3 }

  expect(messages([...clean, ...life('c', right, { handles: { PipeWrap: 2 } })])).toEqual([
    'conduct: c: 2 of PipeWrap open after the shutdown, and 1 before',
  ])
  expect(messages([...clean, ...life('c', right, { handles: { Timeout: 1 } })])).toEqual([
    'conduct: c: 1 of Timeout open after the shutdown, and 0 before',
  ])
})

it('catches unsettled messages that the broker still has for a group', () => {
  const end = { kind: 'brokerEnd', at: 90_000, process: 'run', group: 'g' } as const

  expect(messages([...clean, { ...end, unsettled: 0, detail: '0 pending' }])).toEqual([])
  expect(messages([...clean, { ...end, unsettled: 2, detail: '2 pending' }])).toEqual([
    'conduct: the broker still has 2 unsettled messages of g: 2 pending',
  ])
})

it('catches a password in what a process shows', () => {
  const leak: Fact = { kind: 'leaked', at: 90, process: 'c', what: 'notice connectionLost' }

  expect(messages([...clean, leak])).toEqual(['conduct: c: the password is in the notice connectionLost'])
})

it('catches an unhandled rejection', () => {
  const unhandled: Fact = {
    kind: 'unhandled',
    at: 90,
    process: 'c',
    what: 'unhandledRejection',
    error: 'Error: oops',
  }

  expect(messages([...clean, unhandled])).toEqual([
    'conduct: c: unhandledRejection without a handler: Error: oops',
  ])
})

it('allows more time if the processes got no CPU, but not for the effects of a fault', () => {
  const late = (at: number, ms: number, process = 'run'): Fact => ({
    kind: 'late',
    at,
    process,
    ms,
    overMs: 1000,
  })
  const slow = [
    ...load(
      (at) => at < 20_000,
      (n) => 100 * n + 7000,
    ),
    ...fault(20_000, 21_000),
  ]
  const recovered = ['recovery: g recovered 6000 ms after fault at 20000']

  expect(messages(slow)).toEqual(recovered)
  expect(messages([...slow, late(22_500, 900), late(23_500, 900)])).toEqual([])
  expect(messages([...slow, late(22_500, 900), late(40_000, 900)])).toEqual(recovered)
  const frozen = [...slow, ...life('d', {}).slice(0, 1), ...fault(5000, 8000, ['d'])]
  expect(messages([...frozen, late(7000, 3000, 'd')]).filter((it) => it.includes('recovered'))).toEqual(
    recovered,
  )
})

it('prints the whole history of the event', () => {
  const violations = judgeTorture([...clean, ...run(2, 200)], OPTIONS)

  expect(violations[0]?.story.map((line) => line.trim().split(/ +/).slice(2, 4).join(' '))).toEqual([
    'p published',
    'p confirmed',
    'c started',
    'c finished',
    'c started',
    'c finished',
  ])
  expect(report(violations)).toContain('duplicate: 1\n  h of g handled a#2 twice')
})
