import { toError } from '../errors.ts'
import { settledWithin } from '../kit/time.ts'
import type { SummarizingLogger } from '../observability/summarizing-logger.ts'
import type { Transport } from '../transport/transport.ts'
import type { ConsumerLifecycle } from './consuming/consumer-lifecycle.ts'
import { BusClosedError } from './errors.ts'
import type { Presence } from './presence.ts'
import type { BackgroundPublishes } from './publishing/background-publishes.ts'
import type { BrokerPublisher } from './publishing/broker-publisher.ts'
import type { BusCounters } from './telemetry/bus-counters.ts'
import type { BusMetrics } from './telemetry/bus-metrics.ts'

export interface BrokerShutdownParts {
  readonly consumer: ConsumerLifecycle
  readonly publisher: BrokerPublisher
  readonly presence: Presence
  readonly background: BackgroundPublishes
  readonly transport: Transport
  readonly counters: BusCounters
  readonly metrics: BusMetrics
  readonly logger: SummarizingLogger
}

/** Ends a broker bus once: consuming, then publishing, then the connections. */
export class BrokerShutdown {
  readonly #parts: BrokerShutdownParts
  #closed: Promise<void> | undefined

  constructor(parts: BrokerShutdownParts) {
    this.#parts = parts
  }

  /** Resolves after `timeoutMs` at the latest. A further call waits for the first, at most for its own `timeoutMs`. */
  async run(timeoutMs: number): Promise<void> {
    this.#closed ??= this.#close(timeoutMs)
    await settledWithin(this.#closed, timeoutMs)
  }

  async #close(timeoutMs: number): Promise<void> {
    const { consumer, presence, publisher, background, counters, metrics, logger } = this.#parts
    const deadline = performance.now() + timeoutMs
    const reserveMs = Math.min(500, timeoutMs / 5)
    const remaining = () => Math.max(1, deadline - reserveMs - performance.now())
    await consumer.stop(remaining())
    if (!(await settledWithin(this.#published(), remaining()))) {
      logger.warn('shutdown timed out', { timeoutMs, unfinishedPublishes: publisher.count })
      background.abandon()
      publisher.giveUp()
    }
    await presence.close(remaining() / 4)
    await this.#closeTransport(Math.max(1, Math.ceil(deadline - performance.now())), timeoutMs)
    counters.connectedAt = 0
    metrics.close()
    logger.flush()
    consumer.close(new BusClosedError('consume'))
  }

  async #published(): Promise<void> {
    await this.#parts.background.drained()
    await this.#parts.publisher.drained()
  }

  async #closeTransport(leftMs: number, timeoutMs: number): Promise<void> {
    const { transport, logger } = this.#parts
    try {
      const isClosed = await settledWithin(transport.close(AbortSignal.timeout(leftMs)), leftMs)
      if (!isClosed) logger.warn('closing the connections took too long', { timeoutMs })
    } catch (thrown) {
      logger.warn('closing the connections failed', { error: toError(thrown) })
    }
  }
}
