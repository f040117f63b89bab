import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrokerEventBus } from '../../src/index.ts'
import { Chronicle } from '../../src/verify/chronicle.ts'
import { Tortured } from '../../src/verify/events.ts'
import { type Fact, HistoryWriter } from '../../src/verify/history.ts'
import { report, type Violation } from '../../src/verify/judge.ts'
import type { Part } from '../../src/verify/messages.ts'
import { LatenessWatch } from '../../src/verify/process-watch.ts'
import { Random } from '../../src/verify/random.ts'
import { TortureRun } from '../../src/verify/run.ts'
import { Stage } from '../../src/verify/stage.ts'
import type { BrokerKind } from '../brokers/broker.ts'
import { paced } from '../support/pace.ts'
import type { Breakage } from './broken-transport.ts'
import { restOf } from './broker-end.ts'
import { type Recovery, recoveries } from './judge-recovery.ts'
import { SecretWatch } from './secret-watch.ts'
import type { Tampering } from './tampered-client.ts'
import { launchTortureBroker, type TortureBroker } from './torture-broker.ts'
import {
  ALONE,
  createTortureBus,
  HANDLER_TIMEOUT_MS,
  LEASE_MS,
  MAX_ATTEMPTS,
  MAX_IN_FLIGHT,
  SCOPE,
} from './torture-bus.ts'
import { actionsOn, FAULTS, type FaultName } from './torture-faults.ts'
import { judgeTorture } from './torture-judge.ts'
import { launchBehindProxy } from './torture-launch.ts'
import type { TortureRules } from './torture-rules.ts'

export interface TortureOptions {
  readonly kind: BrokerKind
  readonly seconds: number
  readonly seed: number
  /** The faults, in order. Default: all faults, in repeatedly shuffled order. */
  readonly faults?: readonly FaultName[]
  readonly breakage?: Breakage | Tampering
  /** Number of partitions. From 2 on, the order is judged across the group, and some events are poison. Default 1, on Kafka 6. */
  readonly partitions?: number
  /** Aggregates of each producer. Default 12, with partitions 100. */
  readonly aggregates?: number
  /** The faults go on until this number of events is confirmed, whatever `seconds` says. */
  readonly events?: number
  /** Minimum number of faults, even if the run takes longer on a slow machine. Default 0. */
  readonly leastFaults?: number
  /** Minimum and maximum time between two faults, in milliseconds. Default 1,500 to 6,000. */
  readonly pauseMs?: readonly [number, number]
  /** Maximum time without progress until all confirmed events are settled, in milliseconds. Default 45,000 on the reference machine. */
  readonly settleMs?: number
  readonly onProgress?: (line: string) => void
}

export interface TortureResult {
  readonly violations: readonly Violation[]
  readonly recoveries: readonly Recovery[]
  readonly faults: readonly string[]
  readonly counts: Readonly<Record<string, number>>
  /** All violations of the run by rule, with the histories of their events; empty if there is none. */
  readonly report: string
}

/** Aggregates of each producer. With partitions there are more, so that each partition has some. */
const AGGREGATES = 12
const PARTITIONED_AGGREGATES = 100

/** The rules that a bus must keep. */
function rulesOf(kind: BrokerKind, partitions: number): TortureRules {
  const hasOwners = kind === 'kafka' || partitions > 1
  const competing = hasOwners ? 'group' : 'consumer'
  return {
    groups: [
      { name: 'shared', handlers: ['steady', 'flaky'], order: competing },
      // One consumer at a time, whose successor has its name, so that order holds across them on every bus.
      { name: ALONE, handlers: ['flaky'], order: 'group' },
    ],
    maxAttempts: MAX_ATTEMPTS,
    maxInFlight: MAX_IN_FLIGHT,
    ackMs: 500,
    takeoverMs: hasOwners ? LEASE_MS + 2000 : 0,
    recoveryMs: 5000,
    silenceMs: LEASE_MS + 5000,
    balanceMs: LEASE_MS,
    heapGrowthBytes: 64 * 1024 * 1024,
  }
}

/** Runs the faults and judges the history. Ends everything that it started, even if it fails. */
export async function torture(options: TortureOptions): Promise<TortureResult> {
  await using broker = await launchTortureBroker(options.kind)
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-torture-'))
  const history = new HistoryWriter(folder, 'run')
  const lateness = new LatenessWatch(history)
  const { kind, partitions = 1 } = options
  const watch = new SecretWatch((what) => history.record({ kind: 'leaked', what }))
  const names = { consumerGroup: 'operator', consumerName: 'operator' }
  const operator = createTortureBus(
    { kind, port: broker.port, scope: SCOPE, partitions, ...names },
    watch.logger,
  )
  operator.subscribe(Tortured, () => undefined)
  const random = new Random(options.seed)
  const stage = stageOf(options, { broker, folder, history, random })
  try {
    return judged(options, await runOf(options, { broker, stage, operator, random }).play())
  } finally {
    await stage.clear()
    lateness.end()
    await operator.shutdown({ timeoutMs: 5000 })
    history.close()
    await rm(folder, { recursive: true, force: true })
  }
}

interface StageParts {
  readonly broker: TortureBroker
  readonly folder: string
  readonly history: HistoryWriter
  readonly random: Random
}

function stageOf(options: TortureOptions, { broker, folder, history, random }: StageParts): Stage {
  const {
    kind,
    breakage,
    partitions = 1,
    aggregates = partitions > 1 ? PARTITIONED_AGGREGATES : AGGREGATES,
  } = options
  const launchParts = { kind, port: broker.port, breakage, partitions }
  return new Stage({
    ...{ folder, history, random, aggregates, hasPoison: partitions > 1 },
    ...{ leaseMs: LEASE_MS, handlerTimeoutMs: HANDLER_TIMEOUT_MS },
    launch: (part) => launchBehindProxy(launchParts, part),
  })
}

interface RunParts extends Pick<StageParts, 'broker' | 'random'> {
  readonly stage: Stage
  /** Records and replays dead letters. */
  readonly operator: BrokerEventBus
}

function runOf(options: TortureOptions, { broker, stage, operator, random }: RunParts): TortureRun {
  const { kind, partitions = 1, seconds, events, leastFaults, pauseMs } = options
  const rules = rulesOf(kind, partitions)
  const names = ['first', 'second', 'third', ...(partitions > 1 ? ['fourth'] : [])]
  return new TortureRun({
    ...{ stage, operator, producers: 2, actions: actionsOn(broker.broker) },
    rules: () => rules,
    consumers: [...names.map((name) => consumer('shared', name)), consumer(ALONE, 'only')],
    round: (count) => options.faults ?? roundOf(random, count),
    extent: {
      ...{ seconds, events, leastFaults, pauseMs },
      // The recovery of a broken transport does not matter.
      lastPauseMs: options.breakage === undefined ? rules.recoveryMs : 0,
    },
    startMs: paced(30_000),
    stallMs: options.settleMs ?? paced(45_000),
    rests: () => Promise.all(rules.groups.map(({ name }) => restOf(broker, SCOPE, name, partitions))),
    onProgress: options.onProgress ?? (() => undefined),
  })
}

/** All faults once, in random order; even a short run includes the worst one. */
function roundOf(random: Random, count: number): readonly FaultName[] {
  const all = random.shuffled(FAULTS)
  if (count > 1) return all
  const others: readonly FaultName[] = all.filter((name) => name !== 'brokerKilled')
  return others.toSpliced(random.integer(0, 4), 0, 'brokerKilled')
}

function judged({ kind, partitions = 1, seed }: TortureOptions, facts: readonly Fact[]): TortureResult {
  const rules = rulesOf(kind, partitions)
  const chronicle = new Chronicle(facts)
  const violations = judgeTorture(facts, rules)
  const count = (kind: Fact['kind']) => facts.filter((fact) => fact.kind === kind).length
  const kinds = [
    'confirmed',
    'notStored',
    'unknown',
    'finished',
    'failed',
    'deadLettered',
    'replayed',
  ] as const
  return {
    violations,
    recoveries: recoveries(chronicle, rules),
    faults: chronicle.faults.map(({ name }) => name),
    counts: Object.fromEntries(kinds.map((kind) => [kind, count(kind)])),
    report: violations.length === 0 ? '' : `seed ${seed}\n${report(violations)}`,
  }
}

function consumer(group: 'shared' | typeof ALONE, consumerName: string): Part {
  const isAlone = group === ALONE
  return {
    role: 'consumer',
    group,
    isAlone,
    handlers: isAlone ? ['flaky'] : ['steady', 'flaky'],
    consumerName,
  }
}
