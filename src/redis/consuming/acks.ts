import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import type { StreamRole } from '../client/stream-role.ts'
import { isErrorReply, isPassing, isReadOnly } from '../errors.ts'
import type { HeldEntry } from './held-entry.ts'

/** Ids in one XACK at most. */
const BATCH = 1000
/** Wait before a server that could not take it is asked again, in milliseconds. */
const TRY_AGAIN_MS = 50

export interface RedisAcksParts {
  readonly link: RedisLink
  readonly group: string
  readonly retryKey: (entry: HeldEntry) => string
  readonly onFlushed: (entries: readonly HeldEntry[]) => void
  readonly onRefused: (error: Error) => void
}

/**
 * Acknowledges in batches: while one is on its way the next gathers, so that a busy consumer sends one XACK per page.
 * A batch whose answer was lost is sent again; acknowledging twice does no harm.
 */
export class RedisAcks {
  readonly #parts: RedisAcksParts
  #queued: HeldEntry[] = []
  #flushing: Promise<void> | undefined
  #added = 0
  #settled = 0
  /** Resolves with the batch that is on its way. */
  #step = Promise.withResolvers<void>()
  readonly #closed = new AbortController()

  constructor(parts: RedisAcksParts) {
    this.#parts = parts
  }

  add(entry: HeldEntry): void {
    if (this.#closed.signal.aborted) return
    this.#queued.push(entry)
    this.#added += 1
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined
      this.#stepped()
    })
  }

  /** Resolves when what was noted until now is sent, whatever comes meanwhile. */
  async flushedSoFar(): Promise<void> {
    const wanted = this.#added
    while (this.#settled < wanted && this.#flushing !== undefined) await this.#step.promise
  }

  /** Resolves when all that was noted is sent. */
  async flushed(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing
  }

  close(): void {
    this.#closed.abort()
  }

  async #flush(): Promise<void> {
    // What ends in this turn of the event loop goes together.
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#queued.length > 0) {
      const client = await this.#parts.link.whenReady(this.#closed.signal)
      if (client === undefined) return
      const batch = this.#queued.slice(0, BATCH)
      if (!(await this.#send(client, batch))) continue
      this.#queued = this.#queued.slice(batch.length)
      this.#settled += batch.length
      this.#stepped()
      this.#parts.onFlushed(batch)
    }
  }

  #stepped(): void {
    this.#step.resolve()
    this.#step = Promise.withResolvers()
  }

  /** @returns false when the batch has to be sent again. */
  async #send(client: RedisClient, batch: readonly HeldEntry[]): Promise<boolean> {
    try {
      const commands = [...groupByRole(batch)].flatMap(([role, ids]) => this.#commands(role, ids))
      const retryKeys = batch.filter(({ hasRetryState }) => hasRetryState).map(this.#parts.retryKey)
      if (retryKeys.length > 0) commands.push(['UNLINK', ...retryKeys])
      await Promise.all(commands.map((command) => client.sendCommand(command)))
      return true
    } catch (thrown) {
      const error = toError(thrown)
      if (!isErrorReply(error)) return false
      if (isPassing(error)) {
        if (isReadOnly(error)) this.#parts.link.reset(error)
        await sleep(TRY_AGAIN_MS, this.#closed.signal)
        return false
      }
      // The group is gone, or the command is forbidden: sent again it would be refused again.
      this.#parts.onRefused(error)
      return true
    }
  }

  #commands({ key, deletesSettled }: StreamRole, ids: readonly string[]): string[][] {
    const acknowledge = ['XACK', key, this.#parts.group, ...ids]
    return deletesSettled ? [acknowledge, ['XDEL', key, ...ids]] : [acknowledge]
  }
}

function groupByRole(entries: readonly HeldEntry[]): Map<StreamRole, string[]> {
  const groups = new Map<StreamRole, string[]>()
  for (const { role, message } of entries) {
    const ids = groups.get(role)
    if (ids === undefined) groups.set(role, [message.id])
    else ids.push(message.id)
  }
  return groups
}
