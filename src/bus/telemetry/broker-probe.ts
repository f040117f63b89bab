import { toError } from '../../errors.ts'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import { settledWithin } from '../../kit/time.ts'
import type { Transport } from '../../transport/transport.ts'
import type { WaitingStore } from '../../transport/waiting.ts'
import type { BusCounters } from './bus-counters.ts'
import type { MetricProbes } from './metric-instruments.ts'

/** Maximum time that the collection of metrics waits for an answer of the broker, in milliseconds. */
const METRICS_TIMEOUT_MS = 2000

/** The response of the broker, or the reason why there is none. */
export type ProbeAnswer<T> = { readonly value: T } | { readonly error: Error }

/** Queries the broker for measurements. Never rejects and never hangs; concurrent callers share one request. */
export class BrokerProbe {
  readonly #transport: Pick<Transport, 'lag' | 'deadLetters' | 'waiting'>
  readonly #group: string
  readonly #handlers: Pick<HandlerRegistry, 'hasWaits'>
  #lag: Promise<ProbeAnswer<number | undefined>> | undefined
  #deadLetters: Promise<ProbeAnswer<number>> | undefined
  #waiting: Promise<ProbeAnswer<number>> | undefined
  #oldestWaiting: Promise<ProbeAnswer<number>> | undefined

  constructor(
    transport: Pick<Transport, 'lag' | 'deadLetters' | 'waiting'>,
    group: string,
    handlers: Pick<HandlerRegistry, 'hasWaits'>,
  ) {
    this.#transport = transport
    this.#group = group
    this.#handlers = handlers
  }

  /** What the metrics of the bus read. Those of the broker are unknown while the bus does not consume. */
  metrics(
    counters: BusCounters,
    connected: () => { readonly isConsuming: boolean; readonly isPaused: boolean } | undefined,
  ): MetricProbes {
    const consumer = () => {
      const found = connected()
      return found?.isConsuming === true ? found : undefined
    }
    const whileConsuming = (ask: (timeoutMs: number) => Promise<number | undefined>) => () =>
      consumer() === undefined ? Promise.resolve(undefined) : ask(METRICS_TIMEOUT_MS)
    return {
      inFlight: () => counters.inFlight,
      skipped: () => counters.eventsSkipped,
      reconnections: () => counters.reconnections,
      pausedHandlers: () => counters.pausedHandlers.size,
      isPaused: () => consumer()?.isPaused,
      lag: whileConsuming((timeoutMs) => this.lag(timeoutMs)),
      waiting: whileConsuming((timeoutMs) => this.waiting(timeoutMs)),
      oldestWaitingMs: whileConsuming((timeoutMs) => this.oldestWaitingMs(timeoutMs)),
    }
  }

  /** Number of messages that wait for the group; undefined if the broker does not report it within `timeoutMs`. */
  async lag(timeoutMs: number): Promise<number | undefined> {
    const answer = await this.askLag(timeoutMs)
    return 'value' in answer ? answer.value : undefined
  }

  async askLag(timeoutMs: number): Promise<ProbeAnswer<number | undefined>> {
    const asking = this.#lag ?? answerOf(() => this.#transport.lag())
    this.#lag = asking
    const answer = await within(asking, timeoutMs)
    // The next call sends a new request even if this one is unanswered: the connection may have changed.
    if (this.#lag === asking) this.#lag = undefined
    return answer
  }

  /** Number of dead letters of the group. */
  async askDeadLetters(timeoutMs: number): Promise<ProbeAnswer<number>> {
    const asking = this.#deadLetters ?? answerOf(() => this.#transport.deadLetters.count(this.#group))
    this.#deadLetters = asking
    const answer = await within(asking, timeoutMs)
    if (this.#deadLetters === asking) this.#deadLetters = undefined
    return answer
  }

  /** Number of messages that wait long for an attempt of a handler; undefined as for `lag`, and if no handler has them. */
  async waiting(timeoutMs: number): Promise<number | undefined> {
    const answer = await this.askWaiting(timeoutMs)
    return answer !== undefined && 'value' in answer ? answer.value : undefined
  }

  /** @returns undefined if no handler lets events wait: the rights may not include what it needs. */
  async askWaiting(timeoutMs: number): Promise<ProbeAnswer<number> | undefined> {
    const { waiting } = this.#transport
    if (waiting === undefined || !this.#handlers.hasWaits) return undefined
    const asking = this.#waiting ?? answerOf(() => waiting.count())
    this.#waiting = asking
    const answer = await within(asking, timeoutMs)
    if (this.#waiting === asking) this.#waiting = undefined
    return answer
  }

  /** Age of the oldest of these messages, in milliseconds; undefined as for `waiting`. */
  async oldestWaitingMs(timeoutMs: number): Promise<number | undefined> {
    const answer = await this.askOldestWaiting(timeoutMs)
    return answer !== undefined && 'value' in answer ? answer.value : undefined
  }

  /** @returns undefined if no handler lets events wait. */
  async askOldestWaiting(timeoutMs: number): Promise<ProbeAnswer<number> | undefined> {
    const { waiting } = this.#transport
    if (waiting === undefined || !this.#handlers.hasWaits) return undefined
    const asking = this.#oldestWaiting ?? answerOf(() => oldestMs(waiting))
    this.#oldestWaiting = asking
    const answer = await within(asking, timeoutMs)
    if (this.#oldestWaiting === asking) this.#oldestWaiting = undefined
    return answer
  }
}

/** The clocks of the processes may differ. */
async function oldestMs(waiting: WaitingStore): Promise<number> {
  const since = await waiting.oldestSince()
  return since === undefined ? 0 : Math.max(0, Date.now() - since.getTime())
}

async function answerOf<T>(ask: () => Promise<T>): Promise<ProbeAnswer<T>> {
  try {
    return { value: await ask() }
  } catch (thrown) {
    return { error: toError(thrown) }
  }
}

async function within<T>(answer: Promise<ProbeAnswer<T>>, timeoutMs: number): Promise<ProbeAnswer<T>> {
  if (await settledWithin(answer, timeoutMs)) return answer
  return { error: new Error(`no answer within ${timeoutMs} ms`) }
}
