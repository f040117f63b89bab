import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

interface Base {
  /** Milliseconds of the one clock that all processes of a machine share. */
  readonly at: number
  readonly process: string
}

interface OfEvent {
  readonly event: string
  readonly aggregate: string
  /** Place of the event in its aggregate, from 0. */
  readonly n: number
}

type PublishFact = Base & OfEvent & { readonly kind: 'published' | 'confirmed' | 'notStored' | 'unknown' }

export type HandlerFact = Base &
  OfEvent & {
    readonly kind: 'started' | 'finished' | 'failed'
    readonly group: string
    readonly handler: string
    readonly attempt: number
  }

export type DeadLetterFact = Base &
  OfEvent & {
    /** `deadLettered` was found in the queue at the end, or when it was replayed. */
    readonly kind: 'deadLettered' | 'replayed'
    readonly group: string
    readonly handlers: readonly string[]
    readonly attempts: number
    readonly reason: string
  }

/** What was done to the run. A fault without an end lasts until the end of the history. */
export type FaultFact = Base & {
  readonly kind: 'faultBegan' | 'faultEnded'
  readonly fault: string
  /** The processes that it hits; `*` is the broker, and so all of them. */
  readonly targets: readonly string[]
  /** A graceful stop or start: messages may change hands, and nothing may be handled twice. */
  readonly isPlanned: boolean
}

interface ProcessStats {
  readonly eventsPublished: number
  readonly eventsConsumed: number
  readonly eventsProcessedSuccess: number
  readonly eventsProcessedFailed: number
  readonly handlerErrors: number
  readonly messagesSentToDlq: number
  readonly inFlight: number
}

/** What a process knows of itself after its shutdown. */
export type StatsFact = Base & {
  readonly kind: 'stats'
  readonly stats: ProcessStats
  /** Memory that could not be collected, when it had warmed up and at the end. */
  readonly heapBefore: number
  readonly heapAfter: number
  /** What kept the process alive before there was a bus, and after its shutdown: how many of each kind. */
  readonly handlesBefore: Readonly<Record<string, number>>
  readonly handlesAfter: Readonly<Record<string, number>>
}

/** The process got its turns so much too late in the last `overMs` milliseconds, in all: it had too little of the machine. */
export type LateFact = Base & { readonly kind: 'late'; readonly ms: number; readonly overMs: number }

/** A rejection, an exception or a warning of Node that nobody took. */
export type UnhandledFact = Base & {
  readonly kind: 'unhandled'
  readonly what: string
  readonly error: string
}

/** What the broker still had of a group when every process had ended. */
export type BrokerEndFact = Base & {
  readonly kind: 'brokerEnd'
  readonly group: string
  readonly unsettled: number
  readonly detail: string
}

type ProcessFact = Base &
  (
    | { readonly kind: 'consuming'; readonly group: string }
    | {
        readonly kind: 'processEnded'
        readonly exitCode: number | null
        /** The run killed it, or made it kill itself. */
        readonly wasKilled: boolean
        /** Last words on stderr. */
        readonly output: string
      }
  )

/** One line of a history. */
export type Fact =
  | PublishFact
  | HandlerFact
  | DeadLetterFact
  | FaultFact
  | StatsFact
  | LateFact
  | UnhandledFact
  | BrokerEndFact
  | ProcessFact

/** Leaves out what the writer adds, in each member of the union. */
type Told<F> = F extends Fact
  ? Omit<F, 'at' | 'process'> & { readonly at?: number; readonly process?: string }
  : never

export function now(): number {
  return performance.timeOrigin + performance.now()
}

/** Appends the facts of one process to its file: each is written before the next thing happens, so a kill loses none. */
export class HistoryWriter {
  readonly #file: number
  readonly #process: string

  constructor(folder: string, process: string) {
    this.#process = process
    this.#file = openSync(join(folder, `${process}.jsonl`), 'a')
  }

  tell(fact: Told<Fact>): void {
    writeSync(this.#file, `${JSON.stringify({ at: now(), process: this.#process, ...fact })}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Reads what a run has written, or one process of it, in the order of time. A last line that a kill cut off is left out. */
export function readHistory(folder: string, process?: string): readonly Fact[] {
  const files = readdirSync(folder).filter((name) =>
    process === undefined ? name.endsWith('.jsonl') : name === `${process}.jsonl`,
  )
  const lines = files.flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
  // Our own processes wrote it.
  const facts = lines.map((line) => JSON.parse(line) as Fact)
  return facts.toSorted((a, b) => a.at - b.at)
}
