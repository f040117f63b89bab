import { randomUUID } from 'node:crypto'
import {
  type DeadLetterReason,
  type OutgoingMessage,
  type PresenceReport,
  type ReplayRequest,
  replayDestination,
  type StoredDeadLetter,
  type Wait,
} from '../transport/index.ts'
import { FRESH, MemoryGroup } from './memory-group.ts'
import type { ParkedDeadLetter, PendingMessage, RawMessage, StoredMessage } from './memory-message.ts'
import { MemoryRates } from './memory-rates.ts'
import { aggregatesOf, waitingIn } from './memory-shares.ts'
import type { MemoryWaits } from './memory-waits.ts'

export type { RawMessage } from './memory-message.ts'

/**
 * An in-memory broker: one log, consumer groups with pending messages, a dead letter queue, and switches for faults.
 * Several `MemoryBrokerEventBus`es can share one broker.
 */
export class MemoryBroker {
  readonly #log: StoredMessage[] = []
  readonly #groups = new Map<string, MemoryGroup>()
  readonly #deadLetters = new Map<string, ParkedDeadLetter>()
  readonly #listeners = new Set<() => void>()
  /** @internal */
  readonly rates = new MemoryRates()
  /** @internal The texts that operators have written for groups. */
  readonly controls = new Map<string, string>()
  /** @internal The reports of the processes, by their ids. */
  readonly reports = new Map<string, PresenceReport & { readonly seenAt: number }>()
  #nextId = 1
  #isDown = false

  /** While true, a publish is stored but its confirmation is lost. */
  losesConfirmations = false
  /** While true, a publish fails at once, and nothing is stored. */
  refusesPublishes = false
  /** While true, acknowledgments are lost. */
  losesAcks = false
  /** While true, dead letters cannot be stored. */
  refusesDeadLetters = false
  /** Delay of each publish and each delivery, in milliseconds. */
  latencyMs = 0

  /** True while no connection works: publishes wait, and nothing is delivered. */
  get isDown(): boolean {
    return this.#isDown
  }

  /** Cuts all connections. */
  goDown(): void {
    this.#isDown = true
    this.#changed()
  }

  /** Restores all connections. */
  comeUp(): void {
    this.#isDown = false
    this.#changed()
  }

  /** Drops all consumer groups, like a broker whose state was flushed. The log stays. */
  loseGroups(): void {
    this.#groups.clear()
    this.#changed()
  }

  /** Delivers all unsettled messages again, although their consumers are alive. */
  redeliverAll(): void {
    for (const group of this.#groups.values()) {
      for (const message of group.pending.values()) message.consumer = undefined
    }
    this.#changed()
  }

  /** Writes a message without any check. */
  publishRaw(message: RawMessage): void {
    this.#append({ ...message, key: message.key, id: this.#id(), storedAt: Date.now() })
  }

  /** Number of unsettled messages of a group. */
  pendingCount(group: string): number {
    return this.#groups.get(group)?.pending.size ?? 0
  }

  /** Number of messages that a consumer group has not settled, counted once for each group. */
  get unsettled(): number {
    return [...this.#groups.keys()].reduce((sum, name) => sum + this.unsettledOf(name), 0)
  }

  /** @internal Number of messages that a group has not settled. */
  unsettledOf(name: string): number {
    return this.#groups.get(name)?.unsettled ?? 0
  }

  /** @internal */
  append(message: OutgoingMessage): void {
    const { key, headers, body } = message
    this.publishRaw(key === undefined ? { headers, body } : { key, headers, body })
  }

  /** @internal @param atEnd - a new group gets only later messages. @returns true if this call created the group. */
  ensureGroup(name: string, atEnd = false): boolean {
    if (this.#groups.has(name)) return false
    this.#groups.set(name, new MemoryGroup(this.#log, atEnd ? this.#log.length : 0))
    return true
  }

  /** @internal */
  removeGroup(name: string): void {
    this.#groups.delete(name)
  }

  /** @internal The event types that the members of the group have announced. */
  typesOf(name: string): Set<string> {
    this.ensureGroup(name)
    return this.#groups.get(name)?.types ?? new Set()
  }

  /**
   * @internal
   * @param keepsOrder - true to take only messages of the consumer's share of the aggregates, and none of an aggregate of
   * which another consumer holds one.
   * @returns undefined if there is nothing to deliver, or no such group.
   */
  take(groupName: string, consumer: string, keepsOrder = false): PendingMessage | undefined {
    const group = this.#groups.get(groupName)
    if (group === undefined) return undefined
    const isFree = keepsOrder ? aggregatesOf(group, consumer) : () => true
    let message = waitingIn(group, isFree) ?? group.takeNext()
    while (message !== undefined && !isFree(message)) message = group.takeNext()
    if (message !== undefined) message.consumer = consumer
    return message
  }

  /** @internal The messages of the log from an index on. */
  messages(from: number): readonly StoredMessage[] {
    return this.#log.slice(from)
  }

  /** @internal Makes a group continue with a message of the log. Replays and waiting messages stay. */
  moveTo(name: string, position: number): void {
    this.#groups.get(name)?.moveTo(position)
    this.#changed()
  }

  /** @internal What a group holds, for a look at it. */
  stateOf(name: string) {
    const group = this.#groups.get(name)
    const unread = new Set((group?.unread ?? this.#log).map(({ id }) => id))
    return { unread, pending: [...(group?.pending.values() ?? [])], waits: group?.waits.all ?? [] }
  }

  /** @internal The names of all groups. */
  groupNames(): readonly string[] {
    return [...this.#groups.keys()].toSorted()
  }

  /** @internal The running consumers of a group. */
  membersOf(name: string): Set<string> {
    return this.#groups.get(name)?.members ?? new Set()
  }

  /** @internal When the oldest message that a group has not settled was published. */
  oldestUnsettledAt(name: string): Date | undefined {
    return this.#groups.get(name)?.oldestUnsettledAt()
  }

  /** @internal Number of messages that no consumer of the group holds; undefined if there is no such group. */
  lag(groupName: string): number | undefined {
    return this.#groups.get(groupName)?.lag
  }

  /** @internal */
  hasGroup(name: string): boolean {
    return this.#groups.has(name)
  }

  /** @internal */
  holds(groupName: string, id: string, consumer: string): boolean {
    return this.#groups.get(groupName)?.pending.get(id)?.consumer === consumer
  }

  /** @internal */
  settle(groupName: string, id: string): boolean {
    const group = this.#groups.get(groupName)
    const isSettled = group?.pending.delete(id) ?? false
    // Another consumer may wait for the aggregate.
    if (isSettled && (group?.sharing.size ?? 0) > 0) this.#changed()
    return isSettled
  }

  /** @internal Makes the messages that a consumer holds available for redelivery. */
  giveBack(groupName: string, consumer: string): void {
    this.#groups.get(groupName)?.sharing.delete(consumer)
    for (const message of this.#groups.get(groupName)?.pending.values() ?? []) {
      if (message.consumer === consumer) message.consumer = undefined
    }
    this.#changed()
  }

  /** @internal */
  deadLetter(groupName: string, id: string, reason: DeadLetterReason): void {
    const { group, message } = this.#pending(groupName, id)
    if (group === undefined || message === undefined) return
    const { key, headers, body, storedAt, replays = {} } = message
    const original: StoredMessage = { id, key, headers, body, storedAt, replays }
    const letterId = this.#id()
    this.#deadLetters.set(letterId, {
      id: letterId,
      message: original,
      reason,
      source: `log ${id}`,
      ...replays,
      original,
      places: group.waits.park(message, reason.parkedFor ?? []),
    })
    this.settle(groupName, id)
  }

  /** @internal Keeps a copy of a message until the wait is over. */
  postpone(groupName: string, id: string, wait: Wait): boolean {
    const { group, message } = this.#pending(groupName, id)
    if (group === undefined || message === undefined) return false
    group.waits.postpone(message, wait)
    return true
  }

  /** @internal Keeps a copy of a message behind those that wait in order. @returns the number of those before it. */
  waitBehind(groupName: string, id: string, handlerName: string, limit: number): number | undefined {
    const { group, message } = this.#pending(groupName, id)
    return message && group?.waits.waitBehind(message, handlerName, limit)
  }

  /** @internal Gives up places of this message, and lets those behind it follow. */
  passOn(groupName: string, id: string, places: ReadonlyMap<string, string>): boolean {
    const { group, message } = this.#pending(groupName, id)
    if (group === undefined || message === undefined) return false
    group.waits.passOn(message, places)
    return true
  }

  #pending(groupName: string, id: string) {
    const group = this.#groups.get(groupName)
    return { group, message: group?.pending.get(id) }
  }

  /** @internal Delivers the messages whose waits are over. @returns how long the next one waits, in milliseconds. */
  release(groupName: string): number | undefined {
    const group = this.#groups.get(groupName)
    if (group === undefined) return undefined
    const due = group.waits.takeDue()
    for (const { original, target } of due) {
      const id = this.#id()
      group.pending.set(id, { ...original, id, ...FRESH, replayTarget: target })
    }
    if (due.length > 0) this.#changed()
    return group.waits.nextInMs()
  }

  /** @internal The messages of a group that wait. */
  waitsOf(groupName: string): MemoryWaits | undefined {
    return this.#groups.get(groupName)?.waits
  }

  /** @internal */
  deadLetters(): readonly StoredDeadLetter[] {
    return [...this.#deadLetters.values()]
  }

  /** @internal */
  removeDeadLetter(id: string): boolean {
    const letter = this.#deadLetters.get(id)
    if (letter !== undefined) this.#passOn(letter)
    return this.#deadLetters.delete(id)
  }

  /** @internal Stores a dead letter that was read elsewhere. */
  appendDeadLetter({ message, ...letter }: Omit<StoredDeadLetter, 'id'>, group: string): void {
    const id = this.#id()
    const { replayCount, lastReplayedAt } = letter
    const original: StoredMessage = {
      ...{ id, ...message, key: message.headers['aggregate_id'], storedAt: Date.now() },
      replays: { replayCount, lastReplayedAt },
    }
    const reason = { ...letter.reason, consumerGroup: letter.reason.consumerGroup ?? group }
    this.#deadLetters.set(id, { ...letter, id, message: original, reason, original, places: new Map() })
  }

  /** Lets the messages behind a dead letter follow. */
  #passOn({ reason, original, places }: ParkedDeadLetter): void {
    this.#groups.get(reason.consumerGroup ?? '')?.waits.passOn(original, places)
  }

  /** @internal Moves a dead letter to the pending messages of a group. */
  replay(id: string, request: ReplayRequest): boolean {
    const letter = this.#deadLetters.get(id)
    if (letter === undefined) return false
    const {
      consumerGroup: groupName,
      handlerNames,
      settledHandlers,
    } = replayDestination(letter.reason, request)
    this.ensureGroup(groupName)
    const replayId = this.#id()
    const staysInGroup = groupName === letter.reason.consumerGroup
    if (!staysInGroup) this.#passOn(letter)
    const places = staysInGroup && letter.places.size > 0 ? { places: letter.places } : {}
    const isForAll = handlerNames.length === 0 && places.places === undefined
    this.#groups.get(groupName)?.pending.set(replayId, {
      ...letter.original,
      ...request.message,
      ...FRESH,
      id: replayId,
      replays: { replayCount: (letter.replayCount ?? 0) + 1, lastReplayedAt: new Date() },
      replayTarget: isForAll ? undefined : { handlerNames, settledHandlers, ...places },
    })
    this.#deadLetters.delete(id)
    this.#changed()
    return true
  }

  /** @internal Calls the listener after each change that may make a delivery possible or impossible. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #append(message: StoredMessage): void {
    this.#log.push(message)
    this.#changed()
  }

  #id(): string {
    const id = `${this.#nextId}-${randomUUID().slice(0, 4)}`
    this.#nextId += 1
    return id
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}
