import type { EventPlace } from '../../transport/admin.ts'
import {
  type GroupProgress,
  type HandlerWait,
  isOfEvent,
  MAX_SEARCHED,
  progressOf,
  waitIn,
  withOpenWork,
} from '../../transport/group-progress.ts'
import { parseNames } from '../../transport/replay-headers.ts'
import { AS_BUFFERS, type RedisClient } from '../client/client.ts'
import { type GroupState, isBefore, readStreamState } from '../client/stream-state.ts'
import { isNoGroup } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readEntries, readMessage } from '../wire/entry.ts'
import { livingMembers } from './living-members.ts'

/** How far the groups are with an event. It reads the pending entries, the replays and the waiting copies. */
export class RedisProgress {
  readonly #options: ResolvedRedisOptions
  readonly #client: RedisClient

  constructor(options: ResolvedRedisOptions, client: RedisClient) {
    this.#options = options
    this.#client = client
  }

  async of(place: EventPlace): Promise<readonly GroupProgress[]> {
    const { streams } = this.#options.keys
    const states = await Promise.all(streams.map((key) => readStreamState(this.#client, key)))
    const names = new Set(states.flatMap((state) => state?.groups.map(({ name }) => name) ?? []))
    return Promise.all([...names].toSorted().map((name) => this.#progressOf(name, place)))
  }

  async #progressOf(group: string, { eventId, scanned }: EventPlace): Promise<GroupProgress> {
    const { keys } = this.#options
    const { names: living } = await livingMembers(this.#client, this.#options, group)
    const [waits, replay] = await Promise.all([
      this.#waitsOf(group, eventId),
      this.#replayOf(group, eventId, living),
    ])
    if (scanned === undefined) {
      const remark = 'the event is not among the entries that were read'
      return withOpenWork(progressOf(group, 'unknown', { remark }), replay, waits)
    }
    const { partition = 0 } = scanned
    const entry = { key: keys.streams[partition] ?? keys.streams[0], id: scanned.message.id, partition }
    const state = (await this.#entryState(group, entry, living)) ?? progressOf(group, 'settled')
    return withOpenWork(state, replay, waits)
  }

  /** @returns undefined if the group has settled the entry. */
  async #entryState(
    group: string,
    { key, id, partition }: { readonly key: string; readonly id: string; readonly partition: number },
    living: ReadonlySet<string>,
  ): Promise<GroupProgress | undefined> {
    const state = await this.#groupIn(key, group)
    // It will read the stream from its start.
    if (state === undefined || isBefore(state.lastDeliveredId, id))
      return progressOf(group, 'waiting', { attempts: 0 })
    const row = await this.#pending(key, group, id)
    if (row === undefined) return undefined
    const [, consumer, , attempts]: unknown[] = row
    const messageId = this.#options.partitions === 1 ? id : `${partition}:${id}`
    const settled = await this.#client.sendCommand(['GET', this.#options.keys.retry(group, messageId)])
    const isHeld = living.has(String(consumer))
    return progressOf(group, isHeld ? 'inFlight' : 'waiting', {
      consumer: isHeld ? String(consumer) : undefined,
      attempts: Number(attempts),
      settledHandlers: typeof settled === 'string' ? (parseNames(settled) ?? []) : [],
      remark: isHeld
        ? undefined
        : `${String(consumer)} had it, and no longer lives; another consumer claims it`,
    })
  }

  async #groupIn(key: string, group: string): Promise<GroupState | undefined> {
    const state = await readStreamState(this.#client, key)
    return state?.groups.find(({ name }) => name === group)
  }

  async #pending(key: string, group: string, id: string): Promise<unknown[] | undefined> {
    try {
      const reply = await this.#client.sendCommand(['XPENDING', key, group, id, id, '1'])
      const [row]: unknown[] = Array.isArray(reply) ? reply : []
      return Array.isArray(row) ? row : undefined
    } catch (error) {
      if (isNoGroup(error)) return undefined
      throw error
    }
  }

  /** Settled entries of a replay stream are deleted, so that the newest one with the id is open. */
  async #replayOf(
    group: string,
    eventId: string,
    living: ReadonlySet<string>,
  ): Promise<GroupProgress | undefined> {
    const { keys } = this.#options
    for (const partition of keys.streams.keys()) {
      const key = keys.replays(group, partition)
      const range = ['XREVRANGE', key, '+', '-', 'COUNT', String(MAX_SEARCHED)]
      const entries = readEntries(await this.#client.sendCommand(range, AS_BUFFERS))
      const found = entries.find((entry) => isOfEvent(readMessage(entry).headers, eventId))
      if (found === undefined) continue
      const state = await this.#entryState(group, { key, id: found.id, partition }, living)
      if (state !== undefined) return { ...state, isReplay: true }
    }
    return undefined
  }

  async #waitsOf(group: string, eventId: string): Promise<readonly HandlerWait[]> {
    const { keys } = this.#options
    const range = ['ZRANGEBYSCORE', keys.waiting(group), '-inf', '+inf', 'WITHSCORES']
    const reply = await this.#client.sendCommand([...range, 'LIMIT', '0', String(MAX_SEARCHED)])
    const texts = Array.isArray(reply) ? reply.map(String) : []
    const members = texts.flatMap((member, index) =>
      index % 2 === 0 ? [[member, texts[index + 1]] as const] : [],
    )
    const waits = await Promise.all(
      members.map(async ([member, score]) => {
        const copy = ['XRANGE', keys.waitingEntry(group, member), '-', '+', 'COUNT', '1']
        const [entry] = readEntries(await this.#client.sendCommand(copy, AS_BUFFERS))
        const headers = entry === undefined ? {} : readMessage(entry).headers
        return isOfEvent(headers, eventId) ? waitIn(headers, dueAt(score)) : undefined
      }),
    )
    return waits.filter((wait) => wait !== undefined)
  }
}

/** An entry that waits behind another one has an infinite score. */
function dueAt(score: string | undefined): Date | undefined {
  const at = Number(score)
  return Number.isFinite(at) ? new Date(at) : undefined
}
