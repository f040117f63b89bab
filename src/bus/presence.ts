import { hostname } from 'node:os'
import { ConfigError, toError } from '../errors.ts'
import type { HandlerRegistry } from '../handling/handler-registry.ts'
import type { Logger } from '../observability/logger.ts'
import type { PresenceStore } from '../transport/presence.ts'
import type { Transport } from '../transport/transport.ts'
import { nameWithoutInstance } from './broadcast.ts'
import type { ResolvedBrokerOptions } from './broker-options.ts'
import type { ConsumerLifecycle } from './consuming/consumer-lifecycle.ts'
import type { PresenceFacts } from './presence/report.ts'
import type { PresenceReporter } from './presence/reporter.ts'
import type { PublishedTypes } from './published-types.ts'
import type { BusCounters } from './telemetry/bus-counters.ts'

/** Part of the interval after which the first publish is reported. Programs that soon end report nothing. */
const PUBLISHER_DELAY = 0.2
/** Maximum time for the last report, in milliseconds. */
const CLOSE_MS = 500

export interface PresenceParts {
  /** Between two reports, in milliseconds; Infinity for none. */
  readonly intervalMs: number
  /** Undefined if the transport keeps no reports. */
  readonly loadStore: (() => Promise<PresenceStore>) | undefined
  readonly facts: () => PresenceFacts
  /** True if the bus has connected. */
  readonly isConnected: () => boolean
  readonly logger: Logger
}

/** Loads what reports this process when it first consumes or publishes, and ends it with the bus. */
export class Presence {
  readonly #parts: PresenceParts
  #reporter: Promise<PresenceReporter | undefined> | undefined
  #publisherTimer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: PresenceParts) {
    this.#parts = parts
  }

  /** Loads what keeps the reports; undefined if the transport keeps none. */
  get loadStore(): PresenceParts['loadStore'] {
    return this.#parts.loadStore
  }

  /** Reports at once. Called when the bus starts or stops to consume, and when its group is paused or resumed. */
  report(): void {
    if (this.#reporter === undefined) this.#start()
    else void this.#reporter.then((reporter) => reporter?.report())
  }

  /** Called with the first publish. */
  published(): void {
    const { intervalMs } = this.#parts
    if (this.#isClosed || intervalMs === Number.POSITIVE_INFINITY) return
    const report = () => (this.#parts.isConnected() ? this.report() : this.published())
    this.#publisherTimer = setTimeout(report, PUBLISHER_DELAY * intervalMs).unref()
  }

  /** Ends the reports. */
  async close(timeoutMs: number): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#publisherTimer)
    const reporter = await this.#reporter
    await reporter?.close(Math.min(CLOSE_MS, timeoutMs))
  }

  #start(): void {
    if (this.#isClosed || this.#parts.intervalMs === Number.POSITIVE_INFINITY) return
    this.#reporter ??= this.#load().catch((thrown: unknown) => {
      this.#parts.logger.info('presence of this process is not reported', { error: toError(thrown) })
      return undefined
    })
  }

  async #load(): Promise<PresenceReporter | undefined> {
    const { loadStore } = this.#parts
    if (loadStore === undefined) return undefined
    const [{ PresenceReporter }, store] = await Promise.all([import('./presence/reporter.ts'), loadStore()])
    return new PresenceReporter({ ...this.#parts, store })
  }
}

/** What a broker bus is made of, as far as it reports itself. */
export interface PresenceSources {
  readonly transport: Pick<Transport, 'loadPresence' | 'consumerName'>
  readonly options: Pick<
    ResolvedBrokerOptions,
    'presenceIntervalMs' | 'programName' | 'programVersion' | 'consumerGroup' | 'broadcast'
  >
  readonly handlers: HandlerRegistry
  readonly published: PublishedTypes
  readonly counters: BusCounters
  readonly consumer: () => Pick<ConsumerLifecycle, 'since' | 'isPaused' | 'running' | 'oldestTakenAt'>
  readonly logger: Logger
}

/** The presence of a broker bus. */
export function presenceOf({ transport, options, handlers, published, ...rest }: PresenceSources): Presence {
  const { presenceIntervalMs: intervalMs, programName, programVersion, broadcast } = options
  const { counters, consumer, logger } = rest
  const facts = (): PresenceFacts => {
    const { since, isPaused, running, oldestTakenAt } = consumer()
    return {
      programName,
      programVersion,
      publishes: published.types,
      edges: published.edges,
      consumer: since && {
        group: broadcast ? nameWithoutInstance(options.consumerGroup) : options.consumerGroup,
        broadcast,
        name: transport.consumerName ?? `${hostname()}:${process.pid}`,
        since,
        paused: isPaused,
        handlers: handlers.describe(),
        handled: counters.eventsProcessedSuccess,
        failed: counters.eventsProcessedFailed,
        inFlight: counters.inFlight,
        running,
        oldestInFlightMs: oldestTakenAt && Math.round(performance.now() - oldestTakenAt),
      },
    }
  }
  const presence = new Presence({
    intervalMs,
    loadStore: storeOf(transport),
    facts,
    isConnected: () => counters.connectedAt > 0,
    logger,
  })
  published.onFirst = () => presence.published()
  return presence
}

function storeOf(transport: Pick<Transport, 'loadPresence'>): PresenceParts['loadStore'] {
  if (transport.loadPresence === undefined) return undefined
  let loading: Promise<PresenceStore> | undefined
  return () => {
    loading ??= transport.loadPresence?.()
    return (
      loading ?? Promise.reject(new ConfigError('admin', ['the transport keeps no reports of processes']))
    )
  }
}
