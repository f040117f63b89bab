import type { PresenceRecord, PresenceReport, PresenceStore } from '../../transport/presence.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import { commandError } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readHash } from '../wire/replies.ts'

/**
 * The reports of the processes: a hash with their texts, and a sorted set with the times at which they expire. The server
 * removes both with the last process, or soon after its last report.
 */
export class RedisPresence implements PresenceStore {
  readonly #options: ResolvedRedisOptions
  readonly #link: RedisLink

  constructor(options: ResolvedRedisOptions, link: RedisLink) {
    this.#options = options
    this.#link = link
  }

  async write({ id, text, ttlMs }: PresenceReport): Promise<void> {
    await this.#run('EVAL', (client) => runScript(client, 'REPORT', this.#keys, [id, text, String(ttlMs)]))
  }

  async remove(id: string): Promise<void> {
    const [texts, expiries] = this.#keys
    await this.#run('HDEL', (client) =>
      Promise.all([client.sendCommand(['ZREM', expiries, id]), client.sendCommand(['HDEL', texts, id])]),
    )
  }

  async list(): Promise<readonly PresenceRecord[]> {
    const [texts, expiries] = this.#keys
    const [time, all] = await this.#run('HGETALL', (client) =>
      Promise.all([client.sendCommand(['TIME']), client.sendCommand(['HGETALL', texts])]),
    )
    const now = Array.isArray(time) ? Number(time[0]) * 1000 : Date.now()
    const living = await this.#run('ZRANGEBYSCORE', (client) =>
      client.sendCommand(['ZRANGEBYSCORE', expiries, String(now), '+inf']),
    )
    const reports = readHash(all)
    return (Array.isArray(living) ? living : []).flatMap((id) => {
      const report = reports.get(String(id))
      return report === undefined ? [] : [recordOf(String(report))]
    })
  }

  get #keys(): readonly [texts: string, expiries: string] {
    const { presence } = this.#options.keys
    return [presence, `${presence}:expiries`]
  }

  async #run<T>(command: string, work: (client: RedisClient) => Promise<T>): Promise<T> {
    try {
      return await work(this.#link.requireClient())
    } catch (error) {
      throw commandError(this.#options.address, command, error)
    }
  }
}

/** The time of the server, and the text. */
function recordOf(report: string): PresenceRecord {
  const end = report.indexOf(' ')
  return { seenAt: new Date(Number(report.slice(0, end))), text: report.slice(end + 1) }
}
