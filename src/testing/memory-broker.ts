import { randomUUID } from 'node:crypto'
import type { EncodedMessage, MessageHeaders } from '../codec/index.ts'
import {
  type DeadLetterReason,
  type OutgoingMessage,
  type ReplayRequest,
  type ReplayTarget,
  replayDestination,
  type StoredDeadLetter,
  type Wait,
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

/** A message that waits for an attempt of one handler. */
interface WaitingMessage {
  readonly original: StoredMessage
  readonly target: ReplayTarget
  /** By the monotonic clock; Infinity while it waits behind another. */
  dueAt: number
}

type StoredMessage = Pick<PendingMessage, 'id' | 'key' | 'headers' | 'body'>

interface Group {
  position: number
  /** The event types that its members have announced. */
  readonly types: Set<string>
  readonly pending: Map<string, PendingMessage>
  /** The consumers that share the aggregates; see {@link MemoryBroker.take}. */
  readonly sharing: Set<string>
  /** By the place of the message: its id and the name of the handler. */
  readonly waiting: Map<string, WaitingMessage>
  /** The places of messages that keep their order, by handler and key. */
  readonly orders: Map<string, string[]>
}

/** The messages that keep their order among each other. */
function orderOf({ key, id }: PendingMessage, handlerName: string): string {
  return `${handlerName} ${key ?? `\0${id}`}`
}

/** Stays the same while the message waits several times. */
function placeOf({ id, replayTarget }: PendingMessage, handlerName: string): string {
  return replayTarget?.earlier?.place ?? `${id} ${handlerName}`
}

function waitingCopy(
  { id, key, headers, body }: PendingMessage,
  { handlerName, attempts, firstFailedAt }: Pick<Wait, 'handlerName' | 'attempts' | 'firstFailedAt'>,
  place: string | undefined,
): Omit<WaitingMessage, 'dueAt'> {
  const earlier = { attempts, firstFailedAt, place }
  return {
    original: { id, key, headers, body },
    target: { handlerNames: [handlerName], settledHandlers: [], earlier },
  }
}

/** The state of a message that no consumer has seen. */
const FRESH = { attemptsStarted: 0, settledHandlers: [], consumer: undefined } as const

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
    this.#append({ id: this.#id(), key: message.key, headers: message.headers, body: message.body })
  }

  /** Number of unsettled messages of a group. */
  pendingCount(group: string): number {
    return this.#groups.get(group)?.pending.size ?? 0
  }

  /** Number of messages that a consumer group has not settled, counted once for each group. */
  get unsettled(): number {
    const ofGroup = ({ position, pending }: Group) => this.#log.length - position + pending.size
    return [...this.#groups.values()].reduce((sum, group) => sum + ofGroup(group), 0)
  }

  /** @internal */
  append(message: OutgoingMessage): void {
    this.publishRaw({ key: message.key, headers: message.headers, body: message.body })
  }

  /** @internal @param atEnd - a new group gets only later messages. @returns true if this call created the group. */
  ensureGroup(name: string, atEnd = false): boolean {
    if (this.#groups.has(name)) return false
    this.#groups.set(name, {
      position: atEnd ? this.#log.length : 0,
      types: new Set(),
      pending: new Map(),
      sharing: new Set(),
      waiting: new Map(),
      orders: new Map(),
    })
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
    let message = waitingIn(group, isFree) ?? this.#next(group)
    while (message !== undefined && !isFree(message)) message = this.#next(group)
    if (message !== undefined) message.consumer = consumer
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

  /** @internal Keeps a copy of a message until the wait is over. */
  postpone(groupName: string, id: string, { delayMs, keepsOrder, ...wait }: Wait): boolean {
    const group = this.#groups.get(groupName)
    const message = group?.pending.get(id)
    if (group === undefined || message === undefined) return false
    const place = placeOf(message, wait.handlerName)
    const order = keepsOrder ? this.#join(group, orderOf(message, wait.handlerName), place) : [place]
    const dueAt = order[0] === place ? performance.now() + delayMs : Number.POSITIVE_INFINITY
    group.waiting.set(place, { ...waitingCopy(message, wait, keepsOrder ? place : undefined), dueAt })
    return true
  }

  /** @internal Keeps a copy of a message behind those that wait in order. @returns false if none waits. */
  waitBehind(groupName: string, id: string, handlerName: string): boolean | undefined {
    const group = this.#groups.get(groupName)
    const message = group?.pending.get(id)
    if (group === undefined || message === undefined) return undefined
    const order = orderOf(message, handlerName)
    if (!group.orders.has(order)) return false
    const place = placeOf(message, handlerName)
    // After a crash, the copy may exist.
    if (group.orders.get(order)?.includes(place) === true) return true
    this.#join(group, order, place)
    const wait = { handlerName, attempts: 0, firstFailedAt: new Date() }
    group.waiting.set(place, { ...waitingCopy(message, wait, place), dueAt: Number.POSITIVE_INFINITY })
    return true
  }

  /** @internal Lets the message behind this one follow. */
  passOn(groupName: string, id: string, { handlerNames, earlier }: ReplayTarget): boolean {
    const group = this.#groups.get(groupName)
    const message = group?.pending.get(id)
    if (group === undefined || message === undefined) return false
    const key = orderOf(message, handlerNames[0] ?? '')
    const order = group.orders.get(key)
    if (order?.[0] !== earlier?.place) return true
    order?.shift()
    const [next] = order ?? []
    const waiting = next === undefined ? undefined : group.waiting.get(next)
    if (waiting === undefined) group.orders.delete(key)
    else waiting.dueAt = performance.now()
    return true
  }

  #join(group: Group, key: string, place: string): readonly string[] {
    const order = group.orders.get(key) ?? []
    if (!order.includes(place)) order.push(place)
    group.orders.set(key, order)
    return order
  }

  /** @internal Delivers the messages whose waits are over. @returns how long the next one waits, in milliseconds. */
  release(groupName: string): number | undefined {
    const group = this.#groups.get(groupName)
    if (group === undefined) return undefined
    const { waiting, pending } = group
    const now = performance.now()
    const due = [...waiting].filter(([, { dueAt }]) => dueAt <= now).sort(([, a], [, b]) => a.dueAt - b.dueAt)
    for (const [key, { original, target }] of due) {
      waiting.delete(key)
      const id = this.#id()
      pending.set(id, { ...original, id, ...FRESH, replayTarget: target })
    }
    if (due.length > 0) this.#changed()
    const next = Math.min(...[...waiting.values()].map(({ dueAt }) => dueAt))
    return next === Number.POSITIVE_INFINITY ? undefined : Math.max(0, next - now)
  }

  /** @internal Number of messages of a group that wait. */
  waitingCount(groupName: string): number {
    return this.#groups.get(groupName)?.waiting.size ?? 0
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

  /** Moves the next message of the log to the pending ones. */
  #next(group: Group): PendingMessage | undefined {
    const next = this.#log[group.position]
    if (next === undefined) return undefined
    group.position += 1
    const message: PendingMessage = {
      ...next,
      ...FRESH,
      replayTarget: undefined,
    }
    group.pending.set(next.id, message)
    return message
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

/** @returns a function that is true for messages that the consumer may take. */
function aggregatesOf(
  { pending, sharing }: Group,
  consumer: string,
): (message: Pick<PendingMessage, 'key'>) => boolean {
  sharing.add(consumer)
  const consumers = [...sharing]
  const owners = new Map<string, string>()
  for (const { key, consumer: owner } of pending.values()) {
    if (key !== undefined && owner !== undefined) owners.set(key, owner)
  }
  return ({ key }) => {
    if (key === undefined) return true
    const isOwn = consumers[shareOf(key, consumers.length)] === consumer
    return isOwn && (owners.get(key) ?? consumer) === consumer
  }
}

/** The share of an aggregate, by a hash. */
function shareOf(key: string, shares: number): number {
  let hash = 0
  for (const character of key) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) | 0
  return (hash >>> 0) % shares
}

function waitingIn(
  { pending }: Group,
  isFree: (message: PendingMessage) => boolean,
): PendingMessage | undefined {
  for (const message of pending.values())
    if (message.consumer === undefined && isFree(message)) return message
  return undefined
}
