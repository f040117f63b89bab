import { randomUUID } from 'node:crypto'
import { toError } from '../../errors.ts'
import { sleep } from '../../kit/time.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisLink } from '../client/link.ts'
import { runScript } from '../client/scripts.ts'
import { isForbidden } from '../errors.ts'
import type { ResolvedRedisOptions } from '../options.ts'

/** Longest time between two beats, in milliseconds. */
const BEAT_MS = 500
/** A member whose connection is closed counts as dead this long after its last beat, in milliseconds. */
const DEAD_MS = 2500
/** Time after its last beat in which a member certainly does not count as dead, as a part of the time after which it may. */
const CURRENT = 0.8
/** A member evicts others only after it has been connected for longer than they need to reconnect, in milliseconds. */
const RECONNECT_MS = 3500
/** The connection of a member that may not ask for it. */
const UNKNOWN = '-'
/** How long the server keeps the members after the last beat of any of them, in milliseconds. */
const KEPT_MS = 3_600_000

/** `'leaves'`: a member that gives its partitions up because it stops. */
export type MemberMode = 'shares' | 'leaves' | 'competes'

/** What a beat returned. */
export interface Beat {
  /** Partitions to give up, so that each member has its share. */
  readonly surplus: number
  /** The fences of the partitions that this member holds. */
  readonly leases: ReadonlyMap<number, string>
  /** Names of consumers that died or stopped, and left entries. */
  readonly departed: readonly string[]
}

/** Another member of the group, as it last beat. */
interface OtherMember {
  readonly token: string
  readonly value: string
  /** True if it competes for all events. */
  readonly competes: boolean
  readonly consumerName: string
  /** Id and address of its connection; undefined if it may not know them. */
  readonly connection: string | undefined
  readonly ageMs: number
}

export interface RedisMembershipParts {
  readonly options: ResolvedRedisOptions
  readonly link: RedisLink
  /** The leases that this member holds, to be stored again if the server has lost them. */
  readonly held: () => Iterable<readonly [partition: number, fence: string]>
  readonly onBeat: (beat: Beat) => void
  /** Called if another living member has another `ordering`: with an explanation, once until all have the same again. */
  readonly onOtherOrdering: (detail: string) => void
  /** Called if the server refuses a beat. */
  readonly onFailure: (error: unknown) => void
}

/**
 * Keeps this consumer a member of its group: it beats by the clock of the server, and evicts members that are dead. A member
 * is dead if it does not beat and its connection is closed. A process that is busy or suspended keeps its connection, and
 * counts as dead only after `pendingIdleMs`.
 */
export class RedisMembership {
  readonly #parts: RedisMembershipParts
  readonly #token = randomUUID()
  readonly #stopped = new AbortController()
  readonly #deadMs: number
  /**
   * Time after which a member counts as dead although its connection may be open. In a group without order, the leases of the
   * entries expire instead.
   */
  readonly #silentMs: number
  #mode: MemberMode
  #grants = 0
  #client: RedisClient | undefined
  #connection = UNKNOWN
  /** When the first beat over the current connection was sent, by `performance.now()`. */
  #connectedAt = 0
  #beatAt = Number.NEGATIVE_INFINITY
  #beating: Promise<void> | undefined
  #isRefused = false
  #isOtherReported = false

  constructor(parts: RedisMembershipParts) {
    this.#parts = parts
    this.#mode = parts.options.ordering === 'aggregate' ? 'shares' : 'competes'
    this.#silentMs = this.#mode === 'competes' ? KEPT_MS : parts.options.pendingIdleMs
    this.#deadMs = Math.min(DEAD_MS, this.#silentMs)
  }

  /** True if no other member can have taken over from this one. */
  get isCurrent(): boolean {
    return this.#isRefused || performance.now() - this.#beatAt < this.#deadMs * CURRENT
  }

  /** Joins the group. It resolves even if the server refuses that: a group without leases does not need it. */
  async start(): Promise<void> {
    await this.beat().catch((error: unknown) => this.#refused(error))
    void this.#beatPeriodically()
  }

  /** Gets no more partitions. */
  leaveShare(): void {
    if (this.#mode !== 'shares') return
    this.#mode = 'leaves'
    // Without this beat, the others would learn it from the next one.
    this.beat().catch(() => undefined)
  }

  /** Beats now, or waits for the beat in flight. */
  beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined
    })
    return this.#beating
  }

  /** @param leavesEntries - true if entries of this consumer are pending. */
  async leave(client: RedisClient, leavesEntries: boolean): Promise<void> {
    this.end()
    const { keys, consumerGroup, consumerName } = this.#parts.options
    const state = [keys.members(consumerGroup), keys.departed(consumerGroup)]
    await runScript(client, 'LEAVE', state, [this.#token, consumerName, leavesEntries ? '1' : '0'])
  }

  /** Stops beating. */
  end(): void {
    this.#stopped.abort()
  }

  async #beatPeriodically(): Promise<void> {
    const { pendingIdleMs } = this.#parts.options
    const intervalMs = Math.max(1, Math.min(BEAT_MS, pendingIdleMs / 5))
    while (!this.#isRefused && (await sleep(intervalMs, this.#stopped.signal))) {
      try {
        await this.beat()
      } catch (error) {
        this.#refused(error)
      }
    }
  }

  #refused(error: unknown): void {
    // A group without leases works without members: entries of dead consumers wait for `pendingIdleMs`.
    if (this.#mode === 'competes' && isForbidden(toError(error))) this.#isRefused = true
    else this.#parts.onFailure(error)
  }

  async #beat(): Promise<void> {
    const { options, link, held, onBeat } = this.#parts
    const { keys, consumerGroup, consumerName, partitions } = options
    const client = link.client
    if (client === undefined || this.#stopped.signal.aborted) return
    await this.#notice(client)
    const sentAt = performance.now()
    this.#grants += 1
    const reply = await runScript(
      client,
      'BEAT',
      [keys.members(consumerGroup), keys.departed(consumerGroup), keys.leases(consumerGroup)],
      [
        this.#token,
        this.#connection,
        this.#mode,
        consumerName,
        String(KEPT_MS),
        String(partitions),
        `${this.#token}#${this.#grants}`,
        ...[...held()].flatMap(([partition, fence]) => [String(partition), fence]),
      ],
    )
    this.#beatAt = sentAt
    const [surplus, leases, others, departed]: unknown[] = Array.isArray(reply) ? reply : []
    onBeat({
      surplus: Number(surplus),
      leases: readLeases(leases),
      departed: Array.isArray(departed) ? departed.map(String) : [],
    })
    const members = readOthers(others)
    this.#compareOrderings(members)
    // What the dead members had is free for the next beat.
    if (await this.#evictDead(client, members)) await this.#beat()
  }

  #compareOrderings(others: readonly OtherMember[]): void {
    const own = this.#mode === 'competes'
    // One that does not beat may be dead.
    const other = others.find(({ competes, ageMs }) => competes !== own && ageMs < this.#deadMs)
    if (other !== undefined && !this.#isOtherReported) {
      this.#parts.onOtherOrdering(otherOrdering(this.#parts.options, other.consumerName))
    }
    this.#isOtherReported = other !== undefined
  }

  /** Notes a new connection. */
  async #notice(client: RedisClient): Promise<void> {
    if (client === this.#client) return
    const info = await client.sendCommand(['CLIENT', 'INFO']).catch(() => '')
    this.#client = client
    this.#connection = connectionsIn(String(info))[0] ?? UNKNOWN
    this.#connectedAt = performance.now()
  }

  /** @returns true if it evicted a member. */
  async #evictDead(client: RedisClient, others: readonly OtherMember[]): Promise<boolean> {
    if (performance.now() - this.#connectedAt < RECONNECT_MS) return false
    const { keys, consumerGroup } = this.#parts.options
    const silent = others.filter(({ ageMs }) => ageMs >= this.#deadMs)
    if (silent.length === 0) return false
    const open = await openConnections(client, silent)
    let evicted = 0
    for (const { token, value, connection, ageMs } of silent) {
      const isClosed = connection !== undefined && open?.has(connection) === false
      if (ageMs < this.#silentMs && !isClosed) continue
      const state = [keys.members(consumerGroup), keys.departed(consumerGroup)]
      evicted += Number(await runScript(client, 'EVICT', state, [token, value]))
    }
    return evicted > 0
  }
}

/** Those of the members' connections that are open; undefined if the server does not reveal them. */
async function openConnections(
  client: RedisClient,
  members: readonly OtherMember[],
): Promise<ReadonlySet<string> | undefined> {
  const ids = members.flatMap(({ connection }) => connection?.split('@')[0] ?? [])
  if (ids.length === 0) return undefined
  try {
    return new Set(connectionsIn(String(await client.sendCommand(['CLIENT', 'LIST', 'ID', ...ids]))))
  } catch {
    return undefined // not permitted: these members are dead after `pendingIdleMs`
  }
}

function otherOrdering({ ordering, consumerGroup }: ResolvedRedisOptions, name: string): string {
  const other = ordering === 'none' ? 'aggregate' : 'none'
  return (
    `this consumer of the group ${consumerGroup} has the ordering '${ordering}', and ${name} has '${other}', so the events ` +
    'of an aggregate are not in order across the group; give all consumers the same ordering'
  )
}

/** Id and address of each connection. The ids alone are used again after a restart of the server. */
function connectionsIn(list: string): readonly string[] {
  return Array.from(list.matchAll(/^id=(\d+) addr=(\S+)/gm), ([, id, address]) => `${id}@${address}`)
}

function readLeases(reply: unknown): ReadonlyMap<number, string> {
  const leases = new Map<number, string>()
  if (!Array.isArray(reply)) return leases
  for (let index = 0; index + 1 < reply.length; index += 2)
    leases.set(Number(reply[index]), String(reply[index + 1]))
  return leases
}

function readOthers(reply: unknown): readonly OtherMember[] {
  if (!Array.isArray(reply)) return []
  return reply.map((row: unknown) => {
    const [token, value, age]: unknown[] = Array.isArray(row) ? row : []
    const [, known, mode, ...name] = String(value).split(' ')
    return {
      token: String(token),
      value: String(value),
      competes: mode === 'competes',
      consumerName: name.join(' '),
      connection: known === UNKNOWN ? undefined : known,
      ageMs: Number(age),
    }
  })
}
