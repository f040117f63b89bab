import type { RateStore } from '../../transport/rates.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'

/** How late a turn may be without delaying those after it, in microseconds. */
const TOLERANCE_US = 20_000

/** The next turn of each name, by the clock of the server. */
export class RedisGroupRates implements RateStore {
  readonly #options: ResolvedRedisOptions
  readonly #link: RedisLink

  constructor(options: ResolvedRedisOptions, link: RedisLink) {
    this.#options = options
    this.#link = link
  }

  async take(name: string, ratePerSecond: number): Promise<number> {
    const { keys, consumerGroup, address } = this.#options
    const intervalUs = String(Math.ceil(1e6 / ratePerSecond))
    const client = this.#link.requireClient()
    try {
      const key = keys.rate(consumerGroup, name)
      const waitUs = await runScript(client, 'TAKE_TURN', [key], [intervalUs, String(TOLERANCE_US)])
      return Math.ceil(Number(waitUs) / 1000)
    } catch (error) {
      throw commandError(address, 'EVAL (taking a turn)', error)
    }
  }
}
