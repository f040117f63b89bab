import type { GroupTypeStore } from '../../transport/transport.ts'
import { ANNOUNCED_MS, readTypes, writeTypes } from './announced-types.ts'

/** Members of the Java client read a generation in front of the data. This one stands for none. */
const NO_GENERATION = Buffer.from([0xff, 0xff, 0xff, 0xff])

/**
 * The event types of a group, in the data of its members: each describes itself when it joins, and the leader sends all
 * types to all members with the assignment. So all know the types of a member before its first assignment. Needs the
 * classic protocol.
 */
export class KafkaGroupTypes implements GroupTypeStore {
  readonly freshMs = 0
  /** Called when a member that has joined handles other types than before. */
  onChanged: (() => void) | undefined
  #own: readonly string[] = []
  #current: ReadonlySet<string> = new Set()
  /** Types of members that have left, and until when they count, by the monotonic clock. */
  readonly #former = new Map<string, number>()
  #joined = Promise.withResolvers<void>()
  #isJoining = true

  announce(eventTypes: readonly string[]): Promise<boolean> {
    const isNews = eventTypes.some((type) => !this.#own.includes(type))
    const isLater = this.#own.length > 0
    this.#own = eventTypes
    if (isNews && isLater) this.onChanged?.()
    return Promise.resolve(false)
  }

  async handled(eventTypes: readonly string[]): Promise<ReadonlySet<string>> {
    for (;;) {
      const now = this.handledNow(eventTypes)
      if (now !== undefined) return now
      await this.#joined.promise
    }
  }

  /** Undefined during a rebalance, which may bring a member with other types. */
  handledNow(names: readonly string[]): ReadonlySet<string> | undefined {
    if (this.#isJoining) return undefined
    return new Set(names.filter((name) => this.#isHandled(name)))
  }

  /** What this member says about itself when it joins. */
  get memberData(): Buffer {
    return Buffer.concat([NO_GENERATION, writeTypes(this.#own)])
  }

  /** From now on, the known types may be outdated. */
  joining(): void {
    this.#isJoining = true
  }

  /** @param data - what the leader sent: the result of {@link groupDataOf}, or anything else from other clients. */
  joined(data: Buffer | null): void {
    const next = new Set([...readTypes(data), ...this.#own])
    const until = performance.now() + ANNOUNCED_MS
    for (const type of this.#current) if (!next.has(type)) this.#former.set(type, until)
    for (const [type, end] of this.#former) {
      if (next.has(type) || end < performance.now()) this.#former.delete(type)
    }
    this.#current = next
    this.#isJoining = false
    this.#joined.resolve()
    this.#joined = Promise.withResolvers()
  }

  #isHandled(eventType: string): boolean {
    return this.#current.has(eventType) || (this.#former.get(eventType) ?? 0) > performance.now()
  }
}

/** All types, for all members, from what the members said about themselves. */
export function groupDataOf(members: readonly (Buffer | null)[]): Buffer {
  const types = members.flatMap((data) => readTypes(data?.subarray(NO_GENERATION.length) ?? null))
  return writeTypes([...new Set(types)])
}
