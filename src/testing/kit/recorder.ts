import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { EventBus } from '../../bus/index.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { HandlingContext } from '../../handling/index.ts'
import type { Activity } from './activity.ts'
import { causationTree } from './causation-tree.ts'
import type { PlannedFaults } from './faults.ts'
import type { HandledEvent, PublishedEvent } from './records.ts'

/** A run of a handler, for what the handler publishes. */
interface Running {
  readonly handlerName: string
  /** True for a publish that the handler need not await. */
  readonly isBackground: boolean
  hasEnded: boolean
  /** The types of the events whose publish has not ended. */
  readonly publishing: Set<string>
}

export interface RecorderParts {
  readonly activity: Activity
  readonly faults: PlannedFaults
  /** The time of the kit's clock, in milliseconds. */
  readonly nowMs: () => number
  /** Crashes the process of a service. */
  readonly crash: (service: string) => void
}

/** Records what the buses of a kit handle and publish, and lets the ordered faults happen. */
export class Recorder {
  readonly #parts: RecorderParts
  readonly #running = new AsyncLocalStorage<Running>()
  /** Faults of the program under test that no call of it can report. */
  readonly complaints: string[] = []
  published: PublishedEvent[] = []
  handled: HandledEvent[] = []
  #isStopped = false

  constructor(parts: RecorderParts) {
    this.#parts = parts
  }

  /** True inside a handler. */
  get isInHandler(): boolean {
    return this.#running.getStore() !== undefined
  }

  /** Forgets the records of the previous run. */
  reset(): void {
    this.published = []
    this.handled = []
  }

  /** What the last run recorded, as lines. */
  tree(): string {
    return causationTree(this.published, this.handled, undefined)
  }

  /** Records nothing more. */
  stop(): void {
    this.#isStopped = true
  }

  /** Runs a function as if no handler had called it. */
  outsideOfHandlers<T>(run: () => T): T {
    return this.#running.exit(run)
  }

  /** Records a bus. Call it before handlers are subscribed. */
  observe(bus: EventBus, service: string): void {
    bus.use({
      handle: (context, next) => this.#handle(service, context, next),
      publish: ({ events }, next) => this.#publish(events, next),
    })
    const publish = bus.publish.bind(bus)
    bus.publish = (events, options) => {
      const running = this.#running.getStore()
      if (running === undefined || options?.background !== true) return publish(events, options)
      return this.#running.run({ ...running, isBackground: true }, () => publish(events, options))
    }
  }

  #handle(service: string, context: HandlingContext, next: () => Promise<void>): Promise<void> {
    if (this.#isStopped) return next()
    const { event, handlerName, attempt } = context
    const { activity, faults, nowMs, crash } = this.#parts
    const running: Running = { handlerName, isBackground: false, hasEnded: false, publishing: new Set() }
    const record = (error?: Error) =>
      this.handled.push({ event, handlerName, service, attempt, atMs: nowMs(), error })
    return activity.track(async () => {
      try {
        faults.beforeRun(context)
        await this.#running.run(running, next)
        record()
        if (running.publishing.size > 0) this.#complainOf(running, [...running.publishing])
      } catch (thrown) {
        record(asError(thrown))
        throw thrown
      } finally {
        running.hasEnded = true
      }
      if (faults.crashesAfter(context)) crash(service)
    })
  }

  #publish(events: readonly DomainEvent[], next: () => Promise<void>): Promise<void> {
    if (this.#isStopped) return next()
    const running = this.#running.getStore()
    const isAwaited = running !== undefined && !running.isBackground
    const types = events.map(({ eventType }) => eventType).join(', ')
    if (isAwaited && running.hasEnded) this.#complainOf(running, [types])
    const record = (error?: Error) => {
      for (const event of events) this.published.push({ event, by: running?.handlerName, error })
    }
    if (isAwaited) running.publishing.add(types)
    return this.#parts.activity.track(async () => {
      try {
        // On a broker, a publish takes time. A handler that does not await it ends before.
        if (isAwaited) await nextTurn()
        await next()
        record()
      } catch (thrown) {
        record(asError(thrown))
        throw thrown
      } finally {
        running?.publishing.delete(types)
      }
    })
  }

  #complainOf({ handlerName }: Running, types: readonly string[]): void {
    this.complaints.push(
      `${handlerName} ended before its publish of ${types.join(', ')}: its promise does not include the publish. Is an await missing?`,
    )
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
