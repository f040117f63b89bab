import type { GroupControlStore } from '../../transport/control.ts'
import type { RedisLink } from '../client/link.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'

/** The texts of the groups, one key for each. */
export class RedisGroupControl implements GroupControlStore {
  readonly staysInGroup = false
  readonly #options: ResolvedRedisOptions
  readonly #link: RedisLink

  constructor(options: ResolvedRedisOptions, link: RedisLink) {
    this.#options = options
    this.#link = link
  }

  poll(): Promise<string | undefined> {
    return this.read(this.#options.consumerGroup)
  }

  async read(group: string): Promise<string | undefined> {
    const text = await this.#send(['GET', this.#options.keys.control(group)])
    return typeof text === 'string' ? text : undefined
  }

  async write(group: string, text: string | undefined): Promise<void> {
    const key = this.#options.keys.control(group)
    await this.#send(text === undefined ? ['UNLINK', key] : ['SET', key, text])
  }

  async #send(command: [name: string, ...string[]]): Promise<unknown> {
    try {
      return await this.#link.requireClient().sendCommand(command)
    } catch (error) {
      throw commandError(this.#options.address, command[0], error)
    }
  }
}
