import { setTimeout as delay } from 'node:timers/promises'
import type { BrokerEventBus, DeadLetter } from '../bus/index.ts'
import { Chronicle } from './chronicle.ts'
import { now } from './clock.ts'
import { Tortured } from './events.ts'
import { type Action, FaultScope, type FaultTools } from './faults.ts'
import { countFacts, type Fact, readHistory } from './history.ts'
import { nothingLost } from './judge-delivery.ts'
import type { Part } from './messages.ts'
import type { JudgeOptions } from './rules.ts'
import type { Actor, Stage } from './stage.ts'

/** The unsettled messages of a group at a broker. */
export interface BrokerRest {
  readonly group: string
  readonly unsettled: number
  readonly detail: string
}

/** How long a run lasts. */
export interface Extent {
  readonly seconds: number
  /** The faults go on until this number of events is confirmed, whatever `seconds` says. */
  readonly events?: number | undefined
  /** Minimum number of faults, even if the run takes longer on a slow machine. Default 0. */
  readonly leastFaults?: number | undefined
  /** Minimum and maximum time between two faults, in milliseconds. Default 1,500 to 6,000. */
  readonly pauseMs?: readonly [number, number] | undefined
  /** Pause after the last fault, in milliseconds. */
  readonly lastPauseMs: number
}

export interface RunParts {
  readonly stage: Stage
  /** Records and replays dead letters. */
  readonly operator: BrokerEventBus
  readonly rules: (facts: readonly Fact[]) => JudgeOptions
  readonly consumers: readonly Part[]
  readonly producers: number
  readonly actions: Readonly<Record<string, Action>>
  /** The faults of a round, in order. @param count - number of the next fault, from 1. */
  readonly round: (count: number) => readonly string[]
  readonly extent: Extent
  /** Maximum time until a process consumes or publishes, in milliseconds. */
  readonly startMs: number
  /** Maximum time without progress until all confirmed events are settled, in milliseconds. */
  readonly stallMs: number
  /** The same if the broker has nothing left. Handlers may still run. Default `stallMs`. */
  readonly quietMs?: number
  readonly rests: () => Promise<readonly BrokerRest[]>
  readonly onProgress: (line: string) => void
  /** Ends the run early. */
  readonly signal?: AbortSignal | undefined
}

const POLL_MS = 100
const SETTLE_POLL_MS = 1000

/** Plays the faults, and records the history. */
export class TortureRun {
  readonly #parts: RunParts
  readonly #folder: string

  constructor(parts: RunParts) {
    this.#parts = parts
    this.#folder = parts.stage.parts.folder
  }

  /** @returns the history. @throws if the signal aborts, or a process does not start. */
  async play(): Promise<readonly Fact[]> {
    const { stage, rests } = this.#parts
    await this.#open()
    await this.#torment()
    await Promise.all(stage.producers.map((producer) => stage.stop(producer)))
    await this.#settle()
    await Promise.all(stage.consumers.map((consumer) => stage.stop(consumer)))
    const { history } = stage.parts
    for (const rest of await rests()) history.record({ kind: 'brokerEnd', ...rest })
    for (const fact of await this.#letters()) history.record(fact)
    return this.#facts()
  }

  async #open(): Promise<void> {
    const { stage, consumers, producers } = this.#parts
    const actors: Actor[] = []
    for (const part of consumers) actors.push(await stage.start(part))
    await Promise.all(actors.map((actor) => this.#whenRecorded(actor, 'consuming')))
    for (let n = 0; n < producers; n += 1) await stage.start(PRODUCER)
    await Promise.all(stage.producers.map((actor) => this.#whenRecorded(actor, 'published')))
  }

  /** Alternates pauses and faults. The last pause is long enough for the last recovery. */
  async #torment(): Promise<void> {
    const { stage, extent, actions, round, onProgress } = this.#parts
    const { seconds, events, leastFaults = 0, pauseMs = [1500, 6000], lastPauseMs } = extent
    const end = Date.now() + seconds * 1000
    await this.#pause(2000)
    const tools: FaultTools = {
      stage,
      whenConsuming: (actor) => this.#whenRecorded(actor, 'consuming'),
      replayDeadLetters: () => this.#replay(),
    }
    const isEnough = () => (events === undefined ? Date.now() >= end : this.#confirmed() >= events)
    const isOver = (count: number) => count > leastFaults && isEnough()
    for (let count = 1; !isOver(count); ) {
      for (const name of round(count)) {
        if (isOver(count)) break
        onProgress(`fault ${count}: ${name}`)
        this.#parts.signal?.throwIfAborted()
        await actions[name]?.(new FaultScope(`${count} ${name}`, tools), tools)
        count += 1
        await this.#pause(stage.parts.random.integer(...pauseMs))
      }
    }
    await this.#pause(lastPauseMs)
  }

  /**
   * Waits until all confirmed events are handled or dead-lettered, as long as their number decreases: a group may need
   * minutes to catch up, and on Kafka it gets nothing while it rebalances. The judge reports those that remain.
   */
  async #settle(): Promise<void> {
    const { onProgress, stallMs, quietMs = stallMs, rests } = this.#parts
    onProgress('waiting until all is settled')
    let best = Infinity
    for (let progressAt = performance.now(); ; ) {
      const facts = [...this.#facts(), ...(await this.#letters())]
      const missing = nothingLost(new Chronicle(facts), this.#parts.rules(facts)).length
      // Events with an unknown outcome count, too.
      const unsettled = (await rests()).reduce((sum, rest) => sum + rest.unsettled, 0)
      if (missing + unsettled === 0) return
      if (missing + unsettled < best) progressAt = performance.now()
      best = Math.min(best, missing + unsettled)
      const limitMs = unsettled === 0 ? Math.min(quietMs, stallMs) : stallMs
      if (performance.now() - progressAt > limitMs) {
        return onProgress(`not all was settled: no progress for ${Math.round(limitMs / 1000)} s`)
      }
      await this.#pause(SETTLE_POLL_MS)
    }
  }

  async #replay(): Promise<void> {
    const { operator, stage } = this.#parts
    for (const { letter, fact } of await this.#described('replayed')) {
      stage.parts.history.record({ ...fact, at: now() })
      await operator.deadLetters.replay(letter.id)
    }
  }

  async #letters() {
    return (await this.#described('deadLettered')).map(({ fact }) => fact)
  }

  async #described(kind: 'deadLettered' | 'replayed') {
    const { deadLetters } = await this.#parts.operator.deadLetters.list({ limit: 100_000 })
    return deadLetters.map((letter) => ({ letter, fact: factOf(letter, kind) }))
  }

  async #whenRecorded(actor: Actor, wanted: Fact['kind']): Promise<void> {
    const end = performance.now() + this.#parts.startMs
    while (!readHistory(this.#folder, actor.name).some(({ kind }) => kind === wanted)) {
      if (performance.now() > end || !actor.isRunning) {
        const what = `The process ${actor.name} did not get as far as ${wanted}`
        throw new Error(`${what}${actor.output === '' ? '.' : `: ${actor.output}`}`)
      }
      await this.#pause(POLL_MS)
    }
  }

  /** Counts the lines, because parsing a long history takes seconds. */
  #confirmed(): number {
    return countFacts(this.#folder, PRODUCER.group, 'confirmed')
  }

  #facts(): readonly Fact[] {
    return withNumbers(readHistory(this.#folder))
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#parts
    await delay(ms, undefined, signal && { signal })
  }
}

const PRODUCER: Part = {
  ...{ role: 'producer', group: 'producer', isAlone: false, handlers: [], consumerName: 'producer' },
}

/** Names the events of the user by aggregate and number, which the processes that handle them do not know. */
function withNumbers(facts: readonly Fact[]): readonly Fact[] {
  const numbers = new Map(
    facts.flatMap((fact) =>
      fact.kind === 'published' && fact.id !== undefined ? [[fact.id, fact] as const] : [],
    ),
  )
  if (numbers.size === 0) return facts
  return facts.map((fact) => {
    const known = 'event' in fact ? numbers.get(fact.event) : undefined
    return known === undefined ? fact : { ...fact, event: known.event, n: known.n }
  })
}

function factOf(letter: DeadLetter, kind: 'deadLettered' | 'replayed') {
  const { event, aggregateId = '', consumerGroup = '', handlerNames = [], attempts = 0, reason = '' } = letter
  const n = event === undefined ? numberIn(letter.body) : event instanceof Tortured ? event.n : undefined
  return {
    kind,
    process: 'run',
    at: letter.lastFailedAt?.getTime() ?? 0,
    event: n === undefined ? (event?.eventId ?? '') : `${aggregateId}#${n}`,
    aggregate: aggregateId,
    n: n ?? -1,
    group: consumerGroup,
    handlers: handlerNames,
    attempts,
    reason,
  }
}

/** The number of an event that cannot be decoded. */
function numberIn(body: Uint8Array): number {
  // Only events of the run's producers are published.
  return (JSON.parse(Buffer.from(body).toString()) as { readonly n: number }).n
}
