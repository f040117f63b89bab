import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { RedisClient } from '../client/client.ts'
import type { ConsumedStream } from '../client/consumed-stream.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError, isErrorReply, isNoGroup } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import type { RedisGroup } from './group.ts'
import type { RedisRecovery } from './recovery.ts'
import type { RedisUnreadWatch } from './unread-watch.ts'

/** Longest time between two sweeps, in milliseconds. */
const MAX_INTERVAL_MS = 5000

export interface RedisSweeperParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly group: RedisGroup
  readonly recovery: RedisRecovery
  readonly streams: readonly ConsumedStream[]
  readonly unread: RedisUnreadWatch
  readonly host: TransportHost
  readonly stopped: AbortSignal
}

/**
 * Runs the recovery of pending entries at the start and periodically, reports entries that were removed unread, and removes
 * dead consumers.
 */
export class RedisSweeper {
  readonly #parts: RedisSweeperParts

  constructor(parts: RedisSweeperParts) {
    this.#parts = parts
  }

  /** Takes over what was delivered before this consumer started. It resolves even if that fails: later sweeps retry. */
  async sweepAtStart(): Promise<void> {
    const { recovery, stopped } = this.#parts
    if (this.#isOrdered) return
    // The first read hides which entries were removed before it.
    const checked = this.#guarded(() => this.#checkUnread())
    if (!(await recovery.hasNothing().catch(() => false))) {
      await this.#guarded(() => recovery.takeOwn(stopped))
      await this.#guarded(() => recovery.sweep(stopped))
    }
    await checked
  }

  /** Resolves when the consumption is stopped. */
  async sweepPeriodically(): Promise<void> {
    const { options, recovery, stopped } = this.#parts
    const intervalMs = Math.min(MAX_INTERVAL_MS, options.pendingIdleMs / 2)
    const sweep = () => (this.#isOrdered ? Promise.resolve() : recovery.sweep(stopped))
    const removeDead = () => this.#removeDeadConsumers()
    await this.#guarded(removeDead)
    while (await sleep(intervalMs, stopped)) {
      await this.#guarded(async () => {
        await sweep()
        await this.#checkUnread()
        await removeDead()
      })
    }
  }

  /** In an ordered group, the next owner of a partition takes over what is pending. */
  get #isOrdered(): boolean {
    return this.#parts.options.ordering === 'aggregate'
  }

  async #checkUnread(): Promise<void> {
    const { unread, streams } = this.#parts
    const client = this.#client
    if (client === undefined) return
    for (const { key, deletesSettled, lease } of streams)
      if (!deletesSettled && (!this.#isOrdered || lease !== undefined)) await unread.check(client, key)
  }

  async #removeDeadConsumers(): Promise<void> {
    const client = this.#client
    if (client !== undefined) await this.#parts.group.removeDeadConsumers(client)
  }

  /** Undefined after the stop. */
  get #client(): RedisClient | undefined {
    const { commands, stopped } = this.#parts
    return stopped.aborted ? undefined : commands.client
  }

  async #guarded(sweep: () => Promise<void>): Promise<void> {
    const { options, host, stopped } = this.#parts
    try {
      await sweep()
    } catch (thrown) {
      const error = toError(thrown)
      // The read loop handles a lost connection and a missing group.
      if (isNoGroup(error) || !isErrorReply(error) || stopped.aborted) return
      host.notify({ type: 'readFailed', error: commandError(options.address, 'XPENDING', error) })
    }
  }
}
