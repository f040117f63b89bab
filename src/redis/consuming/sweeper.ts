import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import type { TransportHost } from '../../transport/transport.ts'
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
    await this.#guarded(() => recovery.takeOwn(stopped))
    await this.#guarded(() => recovery.sweep(stopped))
  }

  /** Resolves when the consumption is stopped. */
  async sweepPeriodically(): Promise<void> {
    const { options, recovery, stopped } = this.#parts
    const intervalMs = Math.min(MAX_INTERVAL_MS, options.pendingIdleMs / 2)
    const sweep = () => (this.#isOrdered ? Promise.resolve() : recovery.sweep(stopped))
    while (await sleep(intervalMs, stopped)) await this.#guarded(sweep)
  }

  /** In an ordered group, the next owner of a partition takes over what is pending. */
  get #isOrdered(): boolean {
    return this.#parts.options.ordering === 'aggregate'
  }

  async #guarded(sweep: () => Promise<void>): Promise<void> {
    const { options, commands, group, unread, streams, host, stopped } = this.#parts
    try {
      await sweep()
      const { client } = commands
      if (client === undefined || stopped.aborted) return
      for (const { key, deletesSettled, lease } of streams)
        if (!deletesSettled && (!this.#isOrdered || lease !== undefined)) await unread.check(client, key)
      await group.removeDeadConsumers(client)
    } catch (thrown) {
      const error = toError(thrown)
      // The read loop handles a lost connection and a missing group.
      if (isNoGroup(error) || !isErrorReply(error) || stopped.aborted) return
      host.notify({ type: 'readFailed', error: commandError(options.address, 'XPENDING', error) })
    }
  }
}
