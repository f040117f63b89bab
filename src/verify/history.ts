import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { now } from './clock.ts'

interface Base {
  /** Milliseconds of the clock that all processes of the machine share. */
  readonly at: number
  readonly process: string
}

interface OfEvent {
  readonly event: string
  readonly aggregate: string
  /** Position of the event in its aggregate, from 0. */
  readonly n: number
}

type PublishFact = Base &
  OfEvent & {
    readonly kind: 'published' | 'confirmed' | 'notStored' | 'unknown'
    /** True if no consumer can decode the event. */
    readonly isPoison?: boolean
    /** Id and type of an event of the user, by which its runs are recorded. */
    readonly id?: string
    readonly type?: string
  }

export type HandlerFact = Base &
  OfEvent & {
    readonly kind: 'started' | 'finished' | 'failed'
    readonly group: string
    readonly handler: string
    readonly attempt: number
  }

export type DeadLetterFact = Base &
  OfEvent & {
    /** `deadLettered`: the event was found in the queue at the end, or when it was replayed. */
    readonly kind: 'deadLettered' | 'replayed'
    readonly group: string
    readonly handlers: readonly string[]
    readonly attempts: number
    readonly reason: string
  }

/** A fault of the run. Without an end, it lasts until the end of the history. */
export type FaultFact = Base & {
  readonly kind: 'faultStarted' | 'faultEnded'
  readonly fault: string
  /** The processes that it affects; `*` is the broker, and therefore all of them. */
  readonly targets: readonly string[]
  /** A graceful stop or start: another consumer may take messages over, but none may be handled twice. */
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

/** The measurements of a process after its shutdown. */
export type StatsFact = Base & {
  readonly kind: 'stats'
  readonly stats: ProcessStats
  /** Heap after a garbage collection, once after the warm-up and once at the end. */
  readonly heapBefore: number
  readonly heapAfter: number
  /** Number of handles of each kind that kept the process alive, before the bus was created and after its shutdown. */
  readonly handlesBefore: Readonly<Record<string, number>>
  readonly handlesAfter: Readonly<Record<string, number>>
}

/** How long the process was starved of CPU within the last `overMs` milliseconds. */
export type LateFact = Base & { readonly kind: 'late'; readonly ms: number; readonly overMs: number }

/** An unhandled rejection or exception, or a warning of Node.js. */
export type UnhandledFact = Base & {
  readonly kind: 'unhandled'
  readonly what: string
  readonly error: string
}

/** Something showed the password of the run. */
export type LeakFact = Base & { readonly kind: 'leaked'; readonly what: string }

/** The unsettled messages of a group at the broker when all processes had ended. */
export type BrokerEndFact = Base & {
  readonly kind: 'brokerEnd'
  readonly group: string
  readonly unsettled: number
  readonly detail: string
}

type ProcessFact = Base &
  (
    | {
        readonly kind: 'consuming'
        readonly group: string
        /** The event types that each handler handles, `*` for all; undefined for the handlers of the run. */
        readonly handlers?: readonly (readonly [name: string, types: readonly string[]])[]
      }
    /** A name on the broker that only the process knows. */
    | { readonly kind: 'created'; readonly name: string }
    | {
        readonly kind: 'processEnded'
        readonly exitCode: number | null
        /** True if the run killed the process, or made it kill itself. */
        readonly wasKilled: boolean
        /** The end of its output on stderr. */
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
  | LeakFact
  | BrokerEndFact
  | ProcessFact

/** Removes the fields that the writer adds from each member of the union. */
type Recordable<F> = F extends Fact
  ? Omit<F, 'at' | 'process'> & { readonly at?: number; readonly process?: string }
  : never

/** Appends the facts of one process to its file. Writes are synchronous, so that a kill loses none. */
export class HistoryWriter {
  readonly #file: number
  readonly #process: string

  constructor(folder: string, process: string) {
    this.#process = process
    this.#file = openSync(join(folder, `${process}.jsonl`), 'a')
  }

  record(fact: Recordable<Fact>): void {
    writeSync(this.#file, `${JSON.stringify({ at: now(), process: this.#process, ...fact })}\n`)
  }

  close(): void {
    closeSync(this.#file)
  }
}

/** Reads the facts of a run, or of one of its processes, in order of time. Leaves out a last line that a kill truncated. */
export function readHistory(folder: string, process?: string): readonly Fact[] {
  const files = readdirSync(folder).filter((name) =>
    process === undefined ? name.endsWith('.jsonl') : name === `${process}.jsonl`,
  )
  const lines = files.flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
  // The processes of the run wrote it, so it has this type.
  const facts = lines.map((line) => JSON.parse(line) as Fact)
  return facts.toSorted((a, b) => a.at - b.at)
}

/** How many facts of a kind the processes have recorded whose names start with a text. */
export function countFacts(folder: string, processes: string, kind: Fact['kind']): number {
  const files = readdirSync(folder).filter((name) => name.startsWith(processes))
  const texts = files.map((name) => readFileSync(join(folder, name), 'utf8'))
  return texts.reduce((sum, text) => sum + text.split(`"kind":"${kind}"`).length - 1, 0)
}
