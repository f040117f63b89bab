import type {
  ReplayRequest,
  StoredDeadLetter,
  SweepOptions,
  SweepReport,
  SweepVerdict,
} from './dead-letter-store.ts'

/** A dead letter that a sweep visits, with what its store needs to replay or remove it. */
export interface SweptLetter {
  readonly letter: StoredDeadLetter
}

/** A dead letter to replay, or to remove if there is no request. */
export interface SweepAction<T extends SweptLetter> {
  readonly item: T
  readonly replay: ReplayRequest | undefined
}

/** The outcome of an action: true if the dead letter existed, or why it was kept. */
export type ActionOutcome = boolean | Error

/**
 * The common part of a sweep. A store passes it the dead letters that exist at the start, page by page, and carries out
 * the actions that it returns.
 */
export class SweepRun<T extends SweptLetter> {
  readonly #visit: (letter: StoredDeadLetter) => SweepVerdict
  readonly #options: SweepOptions
  readonly #apply: (actions: readonly SweepAction<T>[]) => Promise<readonly ActionOutcome[]>
  readonly #failures: { readonly id: string; readonly error: Error }[] = []
  #visited = 0
  #replayed = 0
  #removed = 0

  /** @param apply - replays and removes a batch; returns one outcome for each action. */
  constructor(
    visit: (letter: StoredDeadLetter) => SweepVerdict,
    options: SweepOptions,
    apply: (actions: readonly SweepAction<T>[]) => Promise<readonly ActionOutcome[]>,
  ) {
    this.#visit = visit
    this.#options = options
    this.#apply = apply
  }

  get report(): SweepReport {
    return {
      visited: this.#visited,
      replayed: this.#replayed,
      removed: this.#removed,
      failures: [...this.#failures],
    }
  }

  /** Visits a page. All its actions are carried out when it resolves. @returns false if the sweep ends here. */
  async take(page: readonly T[]): Promise<boolean> {
    const { batchSize, signal } = this.#options
    let batch: SweepAction<T>[] = []
    for (const item of page) {
      if (signal?.aborted) return false
      const verdict = this.#visit(item.letter)
      this.#visited += 1
      if (verdict === 'end') {
        await this.#flush(batch)
        return false
      }
      if (verdict === 'keep') continue
      batch.push({ item, replay: verdict === 'remove' ? undefined : verdict })
      if (batch.length < batchSize) continue
      await this.#flush(batch)
      batch = []
    }
    await this.#flush(batch)
    return !signal?.aborted
  }

  async #flush(batch: readonly SweepAction<T>[]): Promise<void> {
    if (batch.length > 0) await this.#options.beforeBatch(batch.length)
    if (batch.length > 0 && !this.#options.signal?.aborted) {
      const outcomes = await this.#apply(batch)
      for (const [index, { item, replay }] of batch.entries()) {
        const outcome = outcomes[index] ?? false
        if (outcome instanceof Error) this.#failures.push({ id: item.letter.id, error: outcome })
        else if (outcome && replay === undefined) this.#removed += 1
        else if (outcome) this.#replayed += 1
      }
    }
    await this.#options.onProgress(this.report)
  }
}
