import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import {
  BrokerEventBus,
  type BrokerOptions,
  type BusNotice,
  type EventBus,
  type PartitionOptions,
} from '../../index.ts'
import type { RawMessage } from '../memory-broker.ts'
import { waitFor } from '../wait-for.ts'
import type { BusFaults, CreateBus, DescribeEventBusOptions } from './bus-under-test.ts'
import { type Marked, marked, Noted } from './events.ts'
import { Recording, RecordingLogger } from './recording.ts'

/** Of `waitMs`, in milliseconds. */
export const DEFAULT_WAIT_MS = 10_000
/** At the default of `waitMs`, with which it grows. */
const SLACK_MS = 500

/** Between two pings, in milliseconds: without a pause they would occupy the processors. */
const PING_PAUSE_MS = 50

/** Fast retries without jitter, so that a test can compare delays. */
const QUICK: BrokerOptions = { retryBaseDelayMs: 10, retryMaxDelayMs: 1000, retryJitter: 0 }

/** Options of a bus in a test. */
export type SceneOptions = BrokerOptions & PartitionOptions

/** The environment of one test: a fresh scope, the buses that were created in it, and their log. */
export class Scene {
  readonly scope = `conformance-${randomBytes(6).toString('hex')}`
  readonly log = new RecordingLogger()
  readonly waitMs: number
  /** By how much a call may exceed its timeout before it counts as late, in milliseconds. */
  readonly slackMs: number
  readonly competitors: number
  readonly secrets: readonly string[]
  readonly module: string | undefined
  readonly #create: CreateBus
  readonly #faults: BusFaults
  readonly #buses: EventBus[] = []
  readonly #ended = Promise.withResolvers<void>()
  #isStopped = false

  constructor({ create, faults = {}, waitMs = DEFAULT_WAIT_MS, ...options }: DescribeEventBusOptions) {
    this.#create = create
    this.#faults = faults
    this.waitMs = waitMs
    this.slackMs = SLACK_MS * Math.max(1, waitMs / DEFAULT_WAIT_MS)
    this.competitors = options.competitors ?? 50
    this.secrets = options.secrets ?? []
    this.module = options.module?.toString()
  }

  /** Resolves when the test is over. A handler that awaits it hangs during the test. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  get idleLimitMs(): number {
    return this.#faults.idleLimitMs ?? 0
  }

  /** A bus, by default of the group `main`. */
  async bus(options: SceneOptions = {}): Promise<EventBus> {
    const all = { ...QUICK, consumerGroup: 'main', logger: this.log, ...options }
    const bus = await this.#create({ ...all, scope: this.scope, logger: this.log })
    this.#buses.push(bus)
    return bus
  }

  async brokerBus(options: SceneOptions = {}): Promise<BrokerEventBus> {
    const bus = await this.bus(options)
    assert.ok(bus instanceof BrokerEventBus, 'a bus that does not lack "consuming" is a BrokerEventBus')
    return bus
  }

  /** A broker bus that consumes. @param subscribe - called before it starts. */
  async consumer(
    subscribe: (bus: BrokerEventBus) => void,
    options: SceneOptions = {},
  ): Promise<BrokerEventBus> {
    const bus = await this.brokerBus(options)
    subscribe(bus)
    await this.consume(bus)
    return bus
  }

  /** A bus of group `main`, and the events that it handles. */
  async recordingBus(
    then?: (event: Noted) => unknown,
  ): Promise<{ readonly bus: BrokerEventBus; readonly recording: Recording<Noted> }> {
    const recording = new Recording<Noted>(then)
    const bus = await this.consumer((it) => it.subscribe(Noted, recording.handler))
    return { bus, recording }
  }

  async consume(bus: EventBus): Promise<void> {
    bus.startConsumingInBackground()
    await this.within(bus.whenConsuming(), 'the bus to consume')
  }

  /** Makes a group known to the broker, because some brokers keep events only for known groups. */
  async declareGroup(consumerGroup = 'main'): Promise<void> {
    const bus = await this.consumer(() => undefined, {
      consumerGroup,
      presenceIntervalMs: Number.POSITIVE_INFINITY,
    })
    await bus.shutdown()
  }

  until(what: string, condition: () => unknown, seen: () => unknown = () => ''): Promise<unknown> {
    return waitFor(condition, {
      timeoutMs: this.waitMs,
      describe: () => `${what}; saw ${inspect(seen(), { depth: 4 })}\nlogged:\n${this.log}`,
    })
  }

  /** Waits until a recording has at least this many runs. */
  async runs({ runs }: { readonly runs: readonly unknown[] }, count: number, what = 'runs'): Promise<void> {
    await this.until(
      `${count} ${what}`,
      () => runs.length >= count,
      () => runs.length,
    )
  }

  async within<T>(promise: Promise<T>, what: string, timeoutMs = this.waitMs): Promise<T> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      late.reject(new Error(`waited ${timeoutMs} ms for ${what}\nlogged:\n${this.log}`))
    }, timeoutMs)
    try {
      return await Promise.race([promise, late.promise])
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * Asserts that no event is left for a group whose buses have stopped. A fresh bus of the group handles newly published
   * events for longer than an abandoned message would wait for its redelivery, and must receive nothing else.
   */
  async assertNothingLeft(publisher: EventBus, consumerGroup = 'main'): Promise<void> {
    const leftovers = new Recording()
    const bus = await this.consumer((it) => it.subscribeToAllEvents(leftovers.handler), { consumerGroup })
    const pings = await this.pings(publisher, leftovers, 1.5 * this.idleLimitMs)
    assert.deepEqual(leftovers.ids, pings, 'events were redelivered without a fault')
    await bus.shutdown()
  }

  /** Publishes marks one after the other, each when the previous one was handled, for `durationMs`. @returns their ids. */
  async pings(
    publisher: EventBus,
    recording: Recording<Marked> | Recording,
    durationMs: number,
  ): Promise<readonly string[]> {
    const sent: string[] = []
    const end = Date.now() + durationMs
    for (;;) {
      const ping = marked('ping', sent.length)
      sent.push(ping.eventId)
      await publisher.publish([ping])
      await this.until(
        'a mark to be handled',
        () => recording.has(ping),
        () => recording.ids,
      )
      if (Date.now() >= end) return sent
      await delay(PING_PAUSE_MS)
    }
  }

  /** Publishes a mark and waits until it is handled. All earlier events of the aggregate are handled then. */
  async flush(publisher: EventBus, aggregateId: string, recording: Recording<Marked>): Promise<void> {
    const mark = marked(aggregateId)
    await publisher.publish([mark])
    await this.until(
      'a later event of the aggregate',
      () => recording.has(mark),
      () => recording.ids,
    )
  }

  notices(bus: BrokerEventBus): BusNotice[] {
    const notices: BusNotice[] = []
    bus.onNotice((notice) => notices.push(notice))
    return notices
  }

  async publishRaw(message: RawMessage): Promise<void> {
    await required(this.#faults.publishRaw)(this.scope, message)
  }

  async loseTopology(consumerGroup = 'main'): Promise<void> {
    await required(this.#faults.loseTopology)(this.scope, consumerGroup)
  }

  async cutConnections(): Promise<void> {
    await required(this.#faults.cutConnections)(this.scope)
  }

  async stopBroker(): Promise<void> {
    await this.#endConnections('stopped')
  }

  /** Makes the broker unreachable until `startBroker`, for a test that needs no restart. */
  async makeBrokerUnreachable(): Promise<void> {
    await this.#endConnections('unreachable')
  }

  async startBroker(): Promise<void> {
    await required(this.#faults.startBroker)(this.scope)
    this.#isStopped = false
  }

  async loseConfirmations(isLosing: boolean): Promise<void> {
    await required(this.#faults.loseConfirmations)(this.scope, isLosing)
  }

  async crash(bus: EventBus): Promise<void> {
    await required(this.#faults.crash)(bus)
  }

  /** Releases hanging handlers, starts a stopped broker, shuts all buses down, and checks the log for secrets. */
  async end(): Promise<void> {
    this.#ended.resolve()
    if (this.#isStopped) await this.startBroker()
    await Promise.all(this.#buses.map((bus) => bus.shutdown({ timeoutMs: Math.min(5000, this.waitMs) })))
    this.assertNoSecret(this.log.everything())
  }

  assertNoSecret(text: string): void {
    for (const secret of this.secrets) assert.ok(!text.includes(secret), `a secret shows in: ${text}`)
  }

  async #endConnections(outage: 'stopped' | 'unreachable'): Promise<void> {
    this.#isStopped = true
    await required(this.#faults.stopBroker)(this.scope, outage)
  }
}

/** The duration of an action, in milliseconds. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await action()
  return performance.now() - start
}

function required<T>(fault: T | undefined): T {
  if (fault === undefined) throw new Error('A test must declare the faults that it needs.')
  return fault
}
