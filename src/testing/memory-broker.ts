import { randomUUID } from 'node:crypto'
import type { EncodedMessage, MessageHeaders } from '../codec/index.ts'
import {
  type DeadLetterReason,
  type OutgoingMessage,
  type ReplayRequest,
  type ReplayTarget,
  replayDestination,
  type StoredDeadLetter,
} from '../transport/index.ts'

/** A message that a group has not settled. */
export interface PendingMessage {
  readonly id: string
  readonly key: string | undefined
  readonly headers: MessageHeaders
  readonly body: string | Uint8Array
  /** Number of attempts that have started, or may have started before a crash. */
  attemptsStarted: number
  settledHandlers: readonly string[]
  /** The handlers that a replay is for; undefined if all are, or the message was not replayed. */
  readonly replayTarget: ReplayTarget | undefined
  /** The consumer that holds the message; undefined while it waits for redelivery. */
  consumer: string | undefined
}

type StoredMessage = Pick<PendingMessage, 'id' | 'key' | 'headers' | 'body'>

interface Group {
  position: number
  /** The event types that its members have announced. */
  readonly types: Set<string>
  readonly pending: Map<string, PendingMessage>
}

/** A message for {@link MemoryBroker.publishRaw}, as any other producer might write it. */
export interface RawMessage extends EncodedMessage {
  readonly key?: string
}

/**
 * An in-memory broker: one log, consumer groups with pending messages, a dead letter queue, and switches for faults.
 * Several `MemoryBrokerEventBus`es can share one broker.
 */
export class MemoryBroker {
  readonly #log: StoredMessage[] = []
  readonly #groups = new Map<string, Group>()
  readonly #deadLetters = new Map<string, StoredDeadLetter & { readonly original: StoredMessage }>()
  readonly #listeners = new Set<() => void>()
  #nextId = 1
  #isDown = false

  /** While true, a publish is stored but its confirmation is lost. */
  losesConfirmations = false
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
    this.#append({ id: this.#id(), key: message.key, headers: message.headers, body: message.body })
  }

  /** Number of unsettled messages of a group. */
  pendingCount(group: string): number {
    return this.#groups.get(group)?.pending.size ?? 0
  }

  /** @internal */
  append(message: OutgoingMessage): void {
    this.publishRaw({ key: message.key, headers: message.headers, body: message.body })
  }

  /** @internal @param atEnd - a new group gets only later messages. @returns true if this call created the group. */
  ensureGroup(name: string, atEnd = false): boolean {
    if (this.#groups.has(name)) return false
    const position = atEnd ? this.#log.length : 0
    this.#groups.set(name, { position, types: new Set(), pending: new Map() })
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

  /** @internal @returns undefined if there is nothing to deliver, or no such group. */
  take(groupName: string, consumer: string): PendingMessage | undefined {
    const group = this.#groups.get(groupName)
    if (group === undefined) return undefined
    for (const message of group.pending.values()) {
      if (message.consumer !== undefined) continue
      message.consumer = consumer
      return message
    }
    const next = this.#log[group.position]
    if (next === undefined) return undefined
    group.position += 1
    const message: PendingMessage = {
      ...next,
      attemptsStarted: 0,
      settledHandlers: [],
      replayTarget: undefined,
      consumer,
    }
    group.pending.set(next.id, message)
    return message
  }

  /** @internal Number of messages that no consumer of the group holds; undefined if there is no such group. */
  lag(groupName: string): number | undefined {
    const group = this.#groups.get(groupName)
    if (group === undefined) return undefined
    const givenBack = [...group.pending.values()].filter(({ consumer }) => consumer === undefined)
    return this.#log.length - group.position + givenBack.length
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
    return this.#groups.get(groupName)?.pending.delete(id) ?? false
  }

  /** @internal Makes the messages that a consumer holds available for redelivery. */
  giveBack(groupName: string, consumer: string): void {
    for (const message of this.#groups.get(groupName)?.pending.values() ?? []) {
      if (message.consumer === consumer) message.consumer = undefined
    }
    this.#changed()
  }

  /** @internal */
  deadLetter(groupName: string, id: string, reason: DeadLetterReason): void {
    const message = this.#groups.get(groupName)?.pending.get(id)
    if (message === undefined) return
    const original: StoredMessage = { id, key: message.key, headers: message.headers, body: message.body }
    const letterId = this.#id()
    this.#deadLetters.set(letterId, {
      id: letterId,
      message: original,
      reason,
      source: `log ${id}`,
      original,
    })
    this.settle(groupName, id)
  }

  /** @internal */
  deadLetters(): readonly StoredDeadLetter[] {
    return [...this.#deadLetters.values()]
  }

  /** @internal */
  removeDeadLetter(id: string): boolean {
    return this.#deadLetters.delete(id)
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
    this.#groups.get(groupName)?.pending.set(replayId, {
      ...letter.original,
      id: replayId,
      attemptsStarted: 0,
      settledHandlers: [],
      replayTarget: handlerNames.length === 0 ? undefined : { handlerNames, settledHandlers },
      consumer: undefined,
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
