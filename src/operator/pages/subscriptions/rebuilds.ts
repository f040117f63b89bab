import { toError } from '../../../errors.ts'
import type { RebuildReport } from '../../../subscriptions/index.ts'
import type { StateKey } from '../../state.ts'

/** A rebuild that a viewer has started, the last one of its subscription. */
export interface Rebuild {
  readonly by: string
  readonly startedAt: Date
  /** Set at its end, unless it has failed. */
  readonly report: RebuildReport | undefined
  readonly error: Error | undefined
  readonly isRunning: boolean
}

/** The rebuilds of a handler. Every viewer sees them, until the program ends. */
export class Rebuilds {
  static readonly key: StateKey<Rebuilds> = { create: () => new Rebuilds() }

  readonly #last = new Map<string, Rebuild>()

  get(manager: string, subscription: string): Rebuild | undefined {
    return this.#last.get(keyOf(manager, subscription))
  }

  /** Notes a rebuild, and how it ends. @returns the rebuild at its end; it never rejects. */
  async note(
    place: readonly [string, string],
    by: string,
    running: Promise<RebuildReport>,
  ): Promise<Rebuild> {
    const key = keyOf(...place)
    const started = { by, startedAt: new Date(), report: undefined, error: undefined }
    this.#last.set(key, { ...started, isRunning: true })
    const ended = await running.then(
      (report) => ({ ...started, report, isRunning: false }),
      (thrown: unknown) => ({ ...started, error: toError(thrown), isRunning: false }),
    )
    this.#last.set(key, ended)
    return ended
  }
}

function keyOf(manager: string, subscription: string): string {
  return JSON.stringify([manager, subscription])
}
