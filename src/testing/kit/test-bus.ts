import { AssertionError } from 'node:assert'
import { setTimeout as delay } from 'node:timers/promises'
import type { DeadLetter, EventBus } from '../../bus/index.ts'
import type { DomainEvent } from '../../events/index.ts'
import { MemoryBroker } from '../memory-broker.ts'
import { MemoryBrokerEventBus, type MemoryBrokerEventBusOptions } from '../memory-broker-event-bus.ts'
import { Activity } from './activity.ts'
import { assertServices, refuseArrays } from './arguments.ts'
import { type FailOptions, PlannedFaults } from './faults.ts'
import { ObservedBuses, type ObserveOptions } from './observed-buses.ts'
import { Recorder } from './recorder.ts'
import { shuffled } from './shuffled.ts'
import { TestClock } from './test-clock.ts'
import { TestRun } from './test-run.ts'

/** Subscribes the handlers of a service. It is called again for the successor of a bus that crashed. */
export type RegisterHandlers = (bus: MemoryBrokerEventBus) => unknown

/** Options of {@link TestBus.start}, in addition to those of a broker bus. */
export interface TestBusOptions
  extends Omit<MemoryBrokerEventBusOptions, 'broker' | 'sleep' | 'consumerGroup'> {
  /**
   * `'skip'` skips the delays between attempts as soon as nothing else happens. With `'manual'`, only `kit.skip` passes
   * time. Default `'skip'`.
   */
  readonly delays?: 'skip' | 'manual'
  /** Maximum real time that one run may take, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number
}

/** Options of `shuffle`. */
export interface ShuffleOptions {
  /** The same seed gives the same order. Default: a random one, which the tree shows. */
  readonly seed?: number
}

interface Service {
  readonly name: string
  readonly register: RegisterHandlers
  bus: MemoryBrokerEventBus
}

const QUIET = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/**
 * A bus for tests: the real pipeline with retries and dead letters, over a broker in memory. It knows when nothing is in flight
 * any more, so a test waits for no timer, also if it expects that nothing happens.
 *
 * @example
 * await using kit = await TestBus.start((bus) => subscribeHandlers(bus))
 * const run = await kit.publish(new OrderPlaced({ aggregateId: 'Order-1', total: 42 }))
 * run.expectPublished(InvoiceIssued)
 */
export class TestBus implements AsyncDisposable {
  /** The broker, with switches for further faults. */
  readonly broker = new MemoryBroker()
  readonly #options: TestBusOptions
  readonly #activity = new Activity()
  readonly #clock = new TestClock(this.#activity.changed)
  readonly #faults = new PlannedFaults()
  readonly #recorder = new Recorder({
    activity: this.#activity,
    faults: this.#faults,
    nowMs: () => this.#clock.nowMs,
    crash: (service) => this.#crashNow(service),
  })
  readonly #services: Service[] = []
  readonly #retired: MemoryBrokerEventBus[] = []
  readonly #deadLetters = new Set<string>()
  #isBusy = false

  private constructor(options: TestBusOptions) {
    this.#options = options
  }

  /**
   * Starts a kit.
   *
   * @param services - subscribes the handlers of a service, or several such functions by the name of their service. Each
   * service is a consumer group; the name of a single one is `default`.
   */
  static async start(
    services: RegisterHandlers | Readonly<Record<string, RegisterHandlers>>,
    options: TestBusOptions = {},
  ): Promise<TestBus> {
    assertServices(services)
    const kit = new TestBus(options)
    const named = typeof services === 'function' ? { default: services } : services
    for (const [name, register] of Object.entries(named)) {
      kit.#services.push({ name, register, bus: await kit.#startBus(name, register) })
    }
    return kit
  }

  /**
   * Observes the buses of a program, on a real broker or in memory: the same expectations, without the faults of the broker in
   * memory. The buses must consume, and belong to the caller.
   *
   * @param buses - a bus, or several by the name of their service. Each has a consumer group of its own.
   * @example
   * using kit = TestBus.on(bus)
   * const run = await kit.publish(new OrderPlaced({ aggregateId: 'Order-1', total: 42 }))
   * run.expectPublished(InvoiceIssued)
   */
  static on(
    buses: EventBus | Readonly<Record<string, EventBus>>,
    options: ObserveOptions = {},
  ): ObservedBuses {
    return new ObservedBuses(buses, options)
  }

  /** The bus of the first service, for the program under test. */
  get bus(): MemoryBrokerEventBus {
    return this.busOf(this.#services[0]?.name ?? 'default')
  }

  /** The bus of a service. @throws TypeError if there is no such service. */
  busOf(service: string): MemoryBrokerEventBus {
    const found = this.#services.find(({ name }) => name === service)
    if (found !== undefined) return found.bus
    throw new TypeError(
      `There is no service ${service}, only ${this.#services.map(({ name }) => name).join(', ')}.`,
    )
  }

  /** The time that the kit has skipped, in milliseconds. */
  get skippedMs(): number {
    return this.#clock.nowMs
  }

  /** Publishes events. Resolves when everything that follows from them has ended. */
  publish(...events: readonly DomainEvent[]): Promise<TestRun> {
    return this.#run(() => this.bus.publish(events), { events })
  }

  /** Calls the program under test, which publishes to `kit.bus`. Resolves when everything that follows has ended. */
  run(action: () => unknown): Promise<TestRun> {
    return this.#run(action, {})
  }

  /** Delivers an event with the same id once more, as a broker may do. An idempotent handler has no further effect. */
  redeliver(event: DomainEvent): Promise<TestRun> {
    return this.publish(event)
  }

  /**
   * Publishes the events one by one in another order: events of one aggregate keep their order, others have none, as on a
   * broker.
   */
  shuffle(
    events: readonly DomainEvent[],
    { seed = Math.floor(Math.random() * 2 ** 31) }: ShuffleOptions = {},
  ): Promise<TestRun> {
    const publish = async () => {
      for (const event of shuffled(events, seed)) {
        await this.bus.publish([event])
        await this.#settle(Number.POSITIVE_INFINITY)
      }
    }
    return this.#run(publish, { events, note: `(shuffled with seed ${seed})` })
  }

  /** Lets the next runs of a handler fail before they start. */
  fail(handlerName: string, options: FailOptions = {}): void {
    this.#faults.fail(handlerName, options)
  }

  /**
   * Lets the process of a handler crash after the handler's next success, before the acknowledgment. A successor takes over,
   * and gets the event again.
   */
  crash(handlerName: string): void {
    this.#faults.crash(handlerName)
  }

  /**
   * Makes the broker unavailable. With `'notStored'`, nothing is delivered, and a publish fails at once, without effect. With
   * `'unknown'`, only confirmations are lost: a publish fails although the events are stored and delivered.
   */
  outage(outcome: 'notStored' | 'unknown' = 'notStored'): void {
    if (outcome === 'unknown') this.broker.losesConfirmations = true
    else {
      this.broker.refusesPublishes = true
      this.broker.goDown()
    }
  }

  /** Ends an outage. Resolves when everything that waited for the broker has ended. */
  restore(): Promise<TestRun> {
    return this.#run(() => {
      this.broker.losesConfirmations = false
      this.broker.refusesPublishes = false
      this.broker.comeUp()
    }, {})
  }

  /** Skips time, and resolves when everything that is due by then has ended. */
  async skip(ms: number): Promise<TestRun> {
    const untilMs = this.#clock.nowMs + ms
    const run = await this.#run(() => undefined, { untilMs })
    this.#clock.setTo(untilMs)
    return run
  }

  /**
   * Ends the kit.
   * @throws AssertionError if a handler published after it had ended, or if an ordered fault has not happened.
   */
  async stop(): Promise<void> {
    const buses = [...this.#services.map(({ bus }) => bus), ...this.#retired]
    await Promise.all(buses.map((bus) => bus.shutdown({ timeoutMs: 100 })))
    const open = this.#faults.open.map((name) => `The fault of ${name} has not happened: it was not called.`)
    const complaints = [...this.#recorder.complaints.splice(0), ...open]
    if (complaints.length === 0) return
    throw new AssertionError({ message: `${complaints.join('\n')}\n\n${this.#recorder.tree()}` })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #run(action: () => unknown, { events = [], note, untilMs }: RunOptions): Promise<TestRun> {
    if (this.#recorder.isInHandler) {
      throw new TypeError('A handler must publish with its bus: a call of the kit waits for the handler.')
    }
    if (this.#isBusy) throw new TypeError('Await the previous call of the kit first.')
    refuseArrays(events)
    this.#isBusy = true
    this.#recorder.reset()
    try {
      await action()
      await this.#settle(
        untilMs ?? (this.#options.delays === 'manual' ? this.#clock.nowMs : Number.POSITIVE_INFINITY),
      )
      const given = new Set(events.map(({ eventId }) => eventId))
      const { published, handled } = this.#recorder
      const run = new TestRun({ given, published, handled, deadLetters: await this.#newDeadLetters(), note })
      const complaints = this.#recorder.complaints.splice(0)
      if (complaints.length === 0) return run
      throw new AssertionError({ message: `${complaints.join('\n')}\n\n${run.tree()}` })
    } finally {
      this.#isBusy = false
    }
  }

  /** Resolves when nothing runs, and nothing is due before a time of the clock. @throws AssertionError at the deadline. */
  async #settle(untilMs: number): Promise<void> {
    const { timeoutMs = 10_000 } = this.#options
    const aborting = new AbortController()
    const deadline = delay(timeoutMs, undefined, { signal: aborting.signal }).catch(
      () => new Promise(() => {}),
    )
    try {
      for (;;) {
        if (!(await this.#activity.still(deadline))) break
        if (!this.broker.isDown && this.#clock.skipToNext(untilMs)) continue
        if (this.broker.unsettled === 0 || this.broker.isDown || this.#clock.waiting > 0) return
        await delay(1) // a limit of a handler, or the latency of the broker, has real timers
      }
    } finally {
      aborting.abort()
    }
    throw new AssertionError({
      message: `After ${timeoutMs} ms, ${this.#activity.running} handlers and publishes still run.\n\n${this.#recorder.tree()}`,
    })
  }

  async #newDeadLetters(): Promise<readonly DeadLetter[]> {
    const { deadLetters } = await this.bus.deadLetters.list({ limit: 10_000 })
    const added = deadLetters.filter(({ id }) => !this.#deadLetters.has(id))
    for (const { id } of added) this.#deadLetters.add(id)
    return added
  }

  async #startBus(name: string, register: RegisterHandlers): Promise<MemoryBrokerEventBus> {
    const { delays: _, timeoutMs: _t, ...options } = this.#options
    const { sleep } = this.#clock
    const bus = new MemoryBrokerEventBus({
      logger: QUIET,
      ...options,
      broker: this.broker,
      consumerGroup: name,
      sleep,
    })
    this.#recorder.observe(bus, name)
    await register(bus)
    bus.startConsumingInBackground()
    await bus.whenConsuming()
    return bus
  }

  #crashNow(name: string): void {
    const service = this.#services.find((candidate) => candidate.name === name)
    if (service === undefined) return
    service.bus.crash()
    this.#retired.push(service.bus)
    const restart = async () => {
      service.bus = await this.#startBus(name, service.register)
    }
    // The successor starts outside of the handler, as another process would.
    void this.#recorder
      .outsideOfHandlers(() => this.#activity.track(restart))
      .catch((error: unknown) =>
        this.#recorder.complaints.push(`The successor of ${name} did not start: ${String(error)}`),
      )
  }
}

interface RunOptions {
  /** The events that the test itself publishes. */
  readonly events?: readonly DomainEvent[]
  readonly note?: string
  /** Until when the clock may be skipped, in its milliseconds. */
  readonly untilMs?: number
}
