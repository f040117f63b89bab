import type { RedisLink } from '../client/link.ts'
import { runFenced } from '../client/scripts.ts'
import { commandError, isNoGroup } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import type { RedisAcks } from './acks.ts'
import type { HeldEntry } from './held-entry.ts'

export interface RedisAttemptRecorderParts {
  readonly options: ResolvedRedisOptions
  readonly commands: RedisLink
  readonly acks: RedisAcks
}

/** Stores attempts and their results on the server, so that they survive a crash. */
export class RedisAttemptRecorder {
  readonly #parts: RedisAttemptRecorderParts

  constructor(parts: RedisAttemptRecorderParts) {
    this.#parts = parts
  }

  /**
   * Stores the number of an attempt and the handlers that have succeeded.
   * @returns false if the entry belongs to another consumer, or its group is gone.
   * @throws ConnectionError
   */
  async record(entry: HeldEntry, attempt: number, settledHandlers: readonly string[]): Promise<boolean> {
    const { options, commands, acks } = this.#parts
    const { keys, consumerGroup, consumerName, retryKeyExpiryMs, address } = options
    // If the attempt kills this process, events that were handled before it are not redelivered.
    await acks.flushedSoFar()
    const client = commands.requireClient()
    const state = JSON.stringify(settledHandlers)
    try {
      const { partition, key } = entry.stream
      const isOurs = await runFenced(
        client,
        'RECORD_ATTEMPT',
        { leases: keys.leases(consumerGroup), partition, lease: entry.lease },
        [key, keys.retry(consumerGroup, entry.message.id)],
        [consumerGroup, consumerName, entry.entryId, String(attempt), state, String(retryKeyExpiryMs)],
      )
      entry.attemptsStarted = attempt
      return isOurs === 1
    } catch (error) {
      if (isNoGroup(error)) return false
      throw commandError(address, 'EVAL', error)
    }
  }
}
