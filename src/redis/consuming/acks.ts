import { setImmediate as nextTurn } from 'node:timers/promises'
import { toError } from '../../errors.ts'
import { REQUEST_BACKOFF } from '../../kit/backoff.ts'
import { ResettablePromise } from '../../kit/resettable-promise.ts'
import { retryUntilDone } from '../../kit/retry-until-done.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { FENCED_OFF, runFenced } from '../client/scripts.ts'
import { isErrorReply, isNoGroup, isReadOnly, isTransient } from '../errors.ts'
import type { FinishedEntries } from './finished-entries.ts'
import { groupByOwnership, type HeldEntry } from './held-entry.ts'

/** Most ids in one XACK. */
const BATCH = 1000

export interface RedisAcksParts {
  readonly link: RedisLink
  readonly group: string
  /** The key with the leases of partitions. */
  readonly leasesKey: string
  readonly finished: FinishedEntries
  readonly retryKey: (entry: HeldEntry) => string
  /** Called when the requests of these entries have an answer, also if another consumer owns them by now. */
  readonly onFlushed: (entries: readonly HeldEntry[]) => void
  /** Called if the server refuses acknowledgments. The entries stay pending, and are redelivered. */
  readonly onRefused: (error: Error) => void
}

/**
 * Acknowledges in batches: the next batch gathers while the previous one is in flight, so that a busy consumer sends
 * one XACK per page. A batch whose reply was lost is sent again: XACK is idempotent.
 */
export class RedisAcks {
  readonly #parts: RedisAcksParts
  #queued: HeldEntry[] = []
  #flushing: Promise<void> | undefined
  #added = 0
  #settled = 0
  /** Resolves when the batch in flight is confirmed or given up. */
  readonly #step = new ResettablePromise()
  readonly #closed = new AbortController()

  constructor(parts: RedisAcksParts) {
    this.#parts = parts
  }

  add(entry: HeldEntry): void {
    if (this.#closed.signal.aborted) return
    if (entry.lease?.state === 'lost') {
      this.#parts.finished.add(entry)
      return
    }
    this.#queued.push(entry)
    this.#added += 1
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined
      this.#stepped()
    })
  }

  /** Resolves when the acknowledgments added so far are confirmed, also while others keep coming. */
  async flushedSoFar(): Promise<void> {
    const wanted = this.#added
    while (this.#settled < wanted && this.#flushing !== undefined) await this.#step.promise
  }

  /** Resolves when all acknowledgments are confirmed. */
  async flushed(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing
  }

  close(): void {
    this.#closed.abort()
  }

  async #flush(): Promise<void> {
    // Acknowledgments of the same turn of the event loop are sent together.
    await nextTurn()
    while (this.#queued.length > 0) {
      const batch = this.#queued.slice(0, BATCH)
      const sent = await retryUntilDone(() => this.#sendWhenConnected(batch), {
        backoff: REQUEST_BACKOFF,
        signal: this.#closed.signal,
        // The link reconnects and reports why.
        onFailure: (error) => {
          if (isReadOnly(error)) this.#parts.link.reset(error)
        },
      })
      if (sent?.value !== true) return
      this.#queued = this.#queued.slice(batch.length)
      this.#settled += batch.length
      this.#stepped()
      this.#parts.onFlushed(batch)
    }
  }

  #stepped(): void {
    this.#step.resolve()
    this.#step.reset()
  }

  /** @returns false if `close` was called first. @throws an error after which the batch can be sent again. */
  async #sendWhenConnected(batch: readonly HeldEntry[]): Promise<boolean> {
    const client = await this.#parts.link.whenReady(this.#closed.signal)
    if (client === undefined) return false
    try {
      await this.#send(client, batch)
    } catch (thrown) {
      const error = toError(thrown)
      // A refused command would be refused again: the key is not a stream, or the user may not send it. The entries
      // stay pending, and are redelivered.
      if (!isErrorReply(error) || isTransient(error)) throw error
      // Without the stream or its group there is nothing to acknowledge. The read loop repairs and reports that.
      if (!isNoGroup(error)) this.#parts.onRefused(error)
    }
    return true
  }

  async #send(client: RedisClient, batch: readonly HeldEntry[]): Promise<void> {
    await Promise.all(groupByOwnership(batch).map((entries) => this.#acknowledge(client, entries)))
  }

  /** Acknowledges entries of one stream. Under a lease that is no longer valid it has no effect: another owner does it. */
  async #acknowledge(client: RedisClient, entries: readonly HeldEntry[]): Promise<void> {
    const { group, leasesKey, retryKey, finished } = this.#parts
    const [first] = entries
    if (first === undefined) return
    const { lease, stream } = first
    const { key, deletesSettled, partition } = stream
    const ids = entries.map(({ entryId }) => entryId)
    const retryKeys = entries.filter(({ hasRetryState }) => hasRetryState).map(retryKey)
    if (lease !== undefined) {
      const fence = { leases: leasesKey, partition, lease }
      const args = [group, deletesSettled ? '1' : '0', ...ids]
      const reply = await runFenced(client, 'ACKNOWLEDGE', fence, [key, ...retryKeys], args)
      if (reply !== FENCED_OFF) return
      for (const entry of entries) {
        entry.isLost = true
        finished.add(entry)
      }
      return
    }
    const commands = [['XACK', key, group, ...ids]]
    if (deletesSettled) commands.push(['XDEL', key, ...ids])
    if (retryKeys.length > 0) commands.push(['UNLINK', ...retryKeys])
    await Promise.all(commands.map((command) => client.sendCommand(command)))
  }
}
