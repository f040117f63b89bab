import { toError } from '../../errors.ts'
import type { TransportHost } from '../../transport/transport.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError, isErrorReply, isNoGroup } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import type { RedisGroup } from './group.ts'
import type { RedisRecovery } from './recovery.ts'

export interface RedisDepartedConsumersParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly group: RedisGroup
  readonly recovery: RedisRecovery
  readonly host: TransportHost
  readonly stopped: AbortSignal
}

/**
 * Takes over what consumers left that died or stopped, and removes these consumers. All living members of the group share
 * that work. In an ordered group, the next owners of the partitions take over the entries.
 */
export class RedisDepartedConsumers {
  readonly #parts: RedisDepartedConsumersParts
  #isTaking = false

  constructor(parts: RedisDepartedConsumersParts) {
    this.#parts = parts
  }

  /** Starts to take over, unless it is doing so already. @param names - as the last beat returned them. */
  takeOver(names: readonly string[]): void {
    if (this.#isTaking || names.length === 0) return
    this.#isTaking = true
    void this.#takeAll(names).finally(() => {
      this.#isTaking = false
    })
  }

  async #takeAll(names: readonly string[]): Promise<void> {
    const { options, commands, group, recovery, host, stopped } = this.#parts
    try {
      for (const name of names) {
        if (options.ordering !== 'aggregate') await recovery.takeDeparted(name, stopped)
        if (stopped.aborted) return
        await group.removeDeparted(commands.requireClient(), name)
      }
    } catch (thrown) {
      const error = toError(thrown)
      // The read loop handles a lost connection and a missing group. The next beat starts again.
      if (isNoGroup(error) || !isErrorReply(error) || stopped.aborted) return
      host.notify({ type: 'readFailed', error: commandError(options.address, 'EVAL (claim)', error) })
    }
  }
}
