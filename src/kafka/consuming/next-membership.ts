import { randomUUID } from 'node:crypto'
import { toError } from '../../errors.ts'
import { RetryPolicy } from '../../kit/retry-policy.ts'
import { sleep } from '../../kit/time.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { GroupHeartbeatResponse } from '../client/protocol.ts'
import { type TopicPartition, without } from '../client/topic-partition.ts'
import { CODE, isPassing, refusal } from '../errors.ts'
import { FirstAssignment, type MemberIdentity, type Membership, type MembershipParts } from './membership.ts'

const AGAIN = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 50,
  retryMaxDelayMs: 2000,
  retryJitter: 0.2,
})

const LEAVE = -1
/** A static member that will be back. */
const LEAVE_FOR_A_WHILE = -2
/** Until the broker says how often to send heartbeats. */
const FIRST_INTERVAL_MS = 1000
/** Who has to give up partitions learns of it with its next heartbeat, and who gets them with the one after. */
const GRACE_INTERVALS = 3

const OUTSIDER: ReadonlySet<number> = new Set([CODE.UNKNOWN_MEMBER_ID, CODE.FENCED_MEMBER_EPOCH])

type Topic = { readonly name: string; readonly id: string; readonly partitions: number }

/**
 * Membership by KIP-848: the broker shares out, and tells each member in the answers to its heartbeats. A partition goes to
 * another member only after this one has said that it gave it up.
 */
export class NextMembership implements Membership {
  readonly #parts: MembershipParts
  readonly #stopped = new AbortController()
  readonly #joined = new FirstAssignment()
  #running: Promise<void> = Promise.resolve()
  readonly #memberId = randomUUID()
  #epoch = 0
  #owned: readonly TopicPartition[] = []
  #topics: readonly Topic[] = []
  #intervalMs = FIRST_INTERVAL_MS
  #lastContact = 0
  #tellsAll = true
  #wake = new AbortController()

  constructor(parts: MembershipParts) {
    this.#parts = parts
  }

  get identity(): MemberIdentity | undefined {
    if (this.#epoch <= 0) return undefined
    return { memberId: this.#memberId, generation: this.#epoch, groupInstanceId: this.#instance }
  }

  get isFresh(): boolean {
    const { sessionTimeoutMs } = this.#parts.options
    return this.#epoch > 0 && performance.now() - this.#lastContact < sessionTimeoutMs
  }

  async join(): Promise<void> {
    if (this.#parts.session().apis.groupHeartbeat === undefined) {
      throw new ConnectionError(
        'TOPOLOGY_CONFLICT',
        `Kafka at ${this.#parts.options.address} does not know groupProtocol 'consumer' (KIP-848); use 'classic'.`,
      )
    }
    this.#running = this.#run()
    await this.#joined.promise
  }

  rejoin(): void {
    this.#tellsAll = true
    this.#wake.abort()
  }

  async leave(): Promise<void> {
    this.#stopped.abort()
    this.#joined.end()
    this.#wake.abort()
    await this.#running
    if (this.#epoch <= 0) return
    await this.#beat([], this.#instance === null ? LEAVE : LEAVE_FOR_A_WHILE).catch(() => undefined)
    this.#epoch = 0
  }

  get #instance(): string | null {
    return this.#parts.options.groupInstanceId ?? null
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted && (await this.#parts.whenUp(signal)); ) {
      try {
        await this.#beatAndFollow()
        failures = 0
      } catch (thrown) {
        if (signal.aborted) return
        failures += 1
        this.#tellsAll = true
        this.#onFailure(toError(thrown), failures)
        await sleep(AGAIN.backoff(failures), signal)
        continue
      }
      this.#wake = new AbortController()
      await sleep(this.#intervalMs, AbortSignal.any([signal, this.#wake.signal]))
    }
  }

  async #beatAndFollow(): Promise<void> {
    // An answer that was lost may have held an assignment; it comes again only to who tells everything.
    const isWhole = this.#tellsAll
    this.#tellsAll = false
    if (isWhole) this.#topics = await this.#parts.topics()
    let answer = await this.#beat(isWhole ? this.#owned : null)
    while (answer.assignment !== null && !this.#stopped.signal.aborted) {
      const assigned = this.#placesOf(answer)
      if (assigned === undefined) {
        this.#tellsAll = true
        return
      }
      const isNews = await this.#follow(assigned)
      if (this.#epoch === 0) return
      this.#joined.assigned(assigned, GRACE_INTERVALS * this.#intervalMs)
      if (!isNews) return
      answer = await this.#beat(this.#owned)
    }
  }

  /** @returns false when nothing has changed */
  async #follow(assigned: readonly TopicPartition[]): Promise<boolean> {
    const { listener } = this.#parts
    const revoked = without(this.#owned, assigned)
    if (revoked.length === 0 && without(assigned, this.#owned).length === 0) return false
    if (revoked.length > 0) await this.#withHeartbeats(listener.onRevoked(revoked))
    if (this.#epoch === 0) return true
    this.#owned = assigned
    listener.onRebalance()
    await this.#withHeartbeats(listener.onAssigned(assigned))
    // Put out meanwhile: what was taken since is somebody else's as well.
    if (this.#epoch === 0) listener.onLost()
    return true
  }

  #placesOf({ assignment }: GroupHeartbeatResponse): readonly TopicPartition[] | undefined {
    const names = new Map(this.#topics.map(({ id, name }) => [id, name]))
    const places = (assignment?.topicPartitions ?? []).map(({ topicId, partitions }) => {
      const topic = names.get(topicId)
      return topic === undefined ? undefined : partitions.map((index) => ({ topic, index }))
    })
    // A topic that is younger than what is known of the topics comes with the next heartbeat.
    return places.some((place) => place === undefined) ? undefined : places.flatMap((place) => place ?? [])
  }

  async #withHeartbeats(work: Promise<void>): Promise<void> {
    const done = new AbortController()
    const beating = (async () => {
      while (await sleep(this.#intervalMs, done.signal)) {
        try {
          await this.#beat(null)
        } catch (thrown) {
          this.#onFailure(toError(thrown), 1)
          if (this.#epoch === 0) return
        }
      }
    })()
    try {
      await work
    } finally {
      done.abort()
      await beating
    }
  }

  /** @param owned - null when nothing has changed since the last heartbeat */
  async #beat(owned: readonly TopicPartition[] | null, epoch = this.#epoch): Promise<GroupHeartbeatResponse> {
    const { options, coordinator, session } = this.#parts
    const { groupHeartbeat } = session().apis
    if (groupHeartbeat === undefined) throw new Error('the protocol is gone')
    const names = this.#topics.map(({ name }) => name)
    // An answer may have waited here for long, where this process stood still: what counts is when it was asked for.
    const sentAt = performance.now()
    const answer = await coordinator.request('group', groupHeartbeat, [
      options.consumerGroup,
      this.#memberId,
      epoch,
      this.#instance,
      null,
      options.maxPollIntervalMs,
      owned === null ? null : names,
      null,
      null,
      owned === null ? null : this.#idsOf(owned),
    ])
    if (epoch < 0) return answer
    if (answer.errorCode !== CODE.NONE) throw new HeartbeatRefused(answer.errorCode)
    const wasFresh = this.isFresh
    this.#lastContact = Math.max(this.#lastContact, sentAt)
    this.#epoch = answer.memberEpoch
    if (!wasFresh && this.isFresh) this.#parts.listener.onResumed()
    if (answer.heartbeatIntervalMs > 0) this.#intervalMs = answer.heartbeatIntervalMs
    return answer
  }

  #idsOf(owned: readonly TopicPartition[]) {
    const ids = new Map(this.#topics.map(({ id, name }) => [name, id]))
    // A topic that is gone has no id, and nobody owns anything of it.
    return [...Map.groupBy(owned, ({ topic }) => topic)].flatMap(([topic, places]) => {
      const topicId = ids.get(topic)
      return topicId === undefined ? [] : [{ topicId, partitions: places.map(({ index }) => index) }]
    })
  }

  #onFailure(error: Error, failures: number): void {
    const { listener, coordinator, options } = this.#parts
    if (!(error instanceof HeartbeatRefused)) {
      if ('retryable' in error && error.retryable === false) this.#fail(error)
      else if (failures > 3) listener.onFailure(error)
      return
    }
    const { errorCode } = error
    coordinator.heed(errorCode)
    if (OUTSIDER.has(errorCode)) this.#putOut()
    else if (!isPassing(errorCode) && errorCode !== CODE.STALE_MEMBER_EPOCH) {
      this.#onRefusal(
        errorCode,
        refusal(options.address, `A place in the group ${options.consumerGroup}`, errorCode),
        failures,
      )
    }
  }

  #onRefusal(errorCode: number, failure: Error, failures: number): void {
    if (errorCode === CODE.FENCED_INSTANCE_ID) this.#putOut()
    // A static member that was killed has its place back when the session of its former self has run out.
    if (errorCode !== CODE.UNRELEASED_INSTANCE_ID) this.#fail(failure)
    else if (failures > 3) this.#parts.listener.onFailure(failure)
  }

  /** Told loudly. A member that was one tries again; the first join has failed. */
  #fail(failure: Error): void {
    this.#parts.listener.onFailure(failure)
    this.#joined.reject(failure)
  }

  #putOut(): void {
    this.#tellsAll = true
    this.#epoch = 0
    this.#owned = []
    this.#parts.listener.onLost()
  }
}

class HeartbeatRefused extends Error {
  readonly errorCode: number

  constructor(errorCode: number) {
    super(`heartbeat refused: error ${errorCode}`)
    this.errorCode = errorCode
  }
}
