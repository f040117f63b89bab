import { toError } from '../../errors.ts'
import { quote } from '../../redaction.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { GroupTypeStore } from '../../transport/transport.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import { commandError, isForbidden } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'

/** How long an announcement is valid, in milliseconds. */
const ANNOUNCED_MS = 600_000

/** Replies that waiting does not change: the key is of another kind, or the server does not have the command. */
const PERMANENT = /^WRONGTYPE|unknown command/i

/** The event types of a group, as a hash of the time until when each is announced. */
export class RedisGroupTypes implements GroupTypeStore {
  readonly freshMs = 100
  readonly #options: ResolvedRedisOptions
  readonly #link: RedisLink

  constructor(options: ResolvedRedisOptions, link: RedisLink) {
    this.#options = options
    this.#link = link
  }

  async announce(names: readonly string[]): Promise<boolean> {
    return (await this.#run('ANNOUNCE_TYPES', [String(ANNOUNCED_MS), ...names])) === 1
  }

  async handled(names: readonly string[]): Promise<ReadonlySet<string>> {
    const reply = await this.#run('HANDLED_TYPES', names)
    return new Set(Array.isArray(reply) ? reply.map(String) : [])
  }

  async #run(name: 'ANNOUNCE_TYPES' | 'HANDLED_TYPES', args: readonly string[]): Promise<unknown> {
    const { keys, consumerGroup, address } = this.#options
    const client = this.#link.requireClient()
    try {
      return await runScript(client, name, [keys.types(consumerGroup)], args)
    } catch (thrown) {
      const error = toError(thrown)
      if (isForbidden(error) || PERMANENT.test(error.message)) throw refused(address, error)
      throw commandError(address, 'EVAL', thrown)
    }
  }
}

function refused(address: string, error: Error): ConnectionError {
  const text = `Redis at ${address} refuses the event types of the group: ${quote(error.message)}.`
  return new ConnectionError('TOPOLOGY_CONFLICT', text)
}
