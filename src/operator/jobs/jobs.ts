import { HttpError } from '../http-error.ts'
import type { StateKey } from '../state.ts'
import { Job, type JobDescription, type JobWork } from './job.ts'

/** Jobs that run at the same time, of one bus. */
const MAX_RUNNING = 5
/** Jobs that are kept after their end. */
const MAX_KEPT = 100

/** The jobs of a handler. Every viewer sees all of them, until the program ends. */
export class Jobs {
  static readonly key: StateKey<Jobs> = { create: ({ closed }) => new Jobs(closed) }

  readonly #closed: AbortSignal
  readonly #jobs = new Map<string, Job>()

  constructor(closed: AbortSignal) {
    this.#closed = closed
  }

  /** @throws HttpError 409 if too many jobs of the bus run. */
  start(about: JobDescription, work: JobWork): Job {
    this.#closed.throwIfAborted()
    const running = this.of(about.bus).filter(({ isRunning }) => isRunning)
    if (running.length >= MAX_RUNNING) {
      throw new HttpError(409, `${running.length} jobs are running. Wait until one has ended, or cancel one.`)
    }
    const job = new Job(about, work, this.#closed)
    this.#jobs.set(job.id, job)
    this.#forgetOldest()
    return job
  }

  /** The jobs of a bus, the newest first. */
  of(bus: string): readonly Job[] {
    return [...this.#jobs.values()].filter(({ about }) => about.bus === bus).reverse()
  }

  get(bus: string, id: string): Job | undefined {
    const job = this.#jobs.get(id)
    return job?.about.bus === bus ? job : undefined
  }

  #forgetOldest(): void {
    for (const { id, isRunning } of this.#jobs.values()) {
      if (this.#jobs.size <= MAX_KEPT) return
      if (!isRunning) this.#jobs.delete(id)
    }
  }
}
