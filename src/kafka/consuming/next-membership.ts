import { randomUUID } from 'node:crypto'
import { toError } from '../../errors.ts'
import { READ_BACKOFF } from '../../kit/backoff.ts'
import { ConnectionError } from '../../transport/errors.ts'
import type { KafkaApis } from '../client/apis.ts'
import type { GroupHeartbeatResponse } from '../client/protocol.ts'
import { type TopicPartition, without } from '../client/topic-partition.ts'
import { CODE, isPassing, isRetryable, refusal } from '../errors.ts'
import { withHeartbeats } from './heartbeats.ts'
import { MemberSession } from './member-session.ts'
import {
  GroupError,
  type MemberIdentity,
  type Membership,
  type MembershipParts,
  OTHER_PROTOCOL,
  OTHER_PROTOCOL_RETRY_MS,
  type SubscribedTopic,
} from './membership.ts'
import { MembershipLoop, type MembershipProtocol } from './membership-loop.ts'
import { QUIET_FAILURES } from './quiet-failures.ts'

/** Member epoch of a heartbeat that leaves the group. */
const LEAVE_EPOCH = -1
/** Member epoch of a heartbeat by which a static member leaves temporarily. */
const STATIC_LEAVE_EPOCH = -2
/** Heartbeat interval until the broker announces its own. */
const FIRST_INTERVAL_MS = 1000
/**
 * A member learns with its next heartbeat which partitions it must release. Their next owner gets them with the
 * heartbeat after that.
 */
const GRACE_INTERVALS = 3

const NOT_A_MEMBER: ReadonlySet<number> = new Set([CODE.UNKNOWN_MEMBER_ID, CODE.FENCED_MEMBER_EPOCH])

/**
 * Membership by KIP-848, the next-generation protocol. The broker assigns the partitions and announces the assignment in
 * its answers to heartbeats. A partition goes to another member only after this one has confirmed that it gave it up.
 */
export class NextMembership implements Membership, MembershipProtocol {
  readonly #parts: MembershipParts
  readonly #loop: MembershipLoop
  readonly #session: MemberSession
  readonly #memberId = randomUUID()
  #epoch = 0
  #owned: readonly TopicPartition[] = []
  #topics: readonly SubscribedTopic[] = []
  #intervalMs = FIRST_INTERVAL_MS
  /**
   * True if the next heartbeat must state the topics and owned partitions, which makes the broker resend the
   * assignment.
   */
  #isFullHeartbeatDue = true

  constructor(parts: MembershipParts) {
    this.#parts = parts
    this.#loop = new MembershipLoop((signal) => parts.cluster.whenUp(signal))
    this.#session = new MemberSession({
      timeoutMs: parts.options.sessionTimeoutMs,
      isMember: () => this.#epoch > 0,
      onResumed: () => parts.listener.onResumed(),
    })
  }

  get identity(): MemberIdentity | undefined {
    if (this.#epoch <= 0) return undefined
    return { memberId: this.#memberId, generation: this.#epoch, groupInstanceId: this.#instance }
  }

  get hasLiveSession(): boolean {
    return this.#session.isLive
  }

  async join(): Promise<void> {
    this.#loop.start(this)
    await this.#loop.firstAssignment.promise
  }

  rejoin(): void {
    this.#isFullHeartbeatDue = true
    this.#loop.interrupt()
  }

  async leave(): Promise<void> {
    this.#loop.stop()
    await this.#loop.ended
    if (this.#epoch <= 0) return
    const epoch = this.#instance === null ? LEAVE_EPOCH : STATIC_LEAVE_EPOCH
    await this.#beat([], epoch).catch(() => undefined)
    this.#epoch = 0
  }

  get #instance(): string | null {
    return this.#parts.options.groupInstanceId ?? null
  }

  async enter(): Promise<void> {
    const isFull = this.#isFullHeartbeatDue
    this.#isFullHeartbeatDue = false
    if (isFull) this.#topics = await this.#parts.topics()
    let answer = await this.#beat(isFull ? this.#owned : null)
    while (answer.assignment !== null && !this.#loop.isStopped) {
      const assigned = this.#partitionsIn(answer)
      if (assigned === undefined) {
        this.#isFullHeartbeatDue = true
        return
      }
      const hasChanged = await this.#apply(assigned)
      if (this.#epoch === 0) return
      this.#loop.firstAssignment.assigned(assigned, GRACE_INTERVALS * this.#intervalMs)
      if (!hasChanged) return
      answer = await this.#beat(this.#owned)
    }
  }

  async stay(): Promise<void> {
    await this.#loop.pause(this.#intervalMs)
  }

  recover(error: Error, failures: number): number {
    // A lost answer may have contained an assignment.
    this.#isFullHeartbeatDue = true
    this.#onFailure(error, failures)
    const isOther = error instanceof GroupError && OTHER_PROTOCOL.has(error.errorCode)
    return isOther ? OTHER_PROTOCOL_RETRY_MS : READ_BACKOFF.backoff(failures)
  }

  /** @returns false if the assignment has not changed. */
  async #apply(assigned: readonly TopicPartition[]): Promise<boolean> {
    const { listener } = this.#parts
    const revoked = without(this.#owned, assigned)
    if (revoked.length === 0 && without(assigned, this.#owned).length === 0) return false
    if (revoked.length > 0) await this.#withHeartbeats(listener.onRevoked(revoked))
    if (this.#epoch === 0) return true
    this.#owned = assigned
    listener.onRebalance()
    await this.#withHeartbeats(listener.onAssigned(assigned))
    // After an eviction meanwhile, other members own the partitions taken since.
    if (this.#epoch === 0) listener.onLost()
    return true
  }

  /** The assignment by topic names; undefined if a topic is newer than the known ones. */
  #partitionsIn({ assignment }: GroupHeartbeatResponse): readonly TopicPartition[] | undefined {
    const names = new Map(this.#topics.map(({ id, name }) => [id, name]))
    const byTopic = (assignment?.topicPartitions ?? []).map(({ topicId, partitions }) => {
      const topic = names.get(topicId)
      return topic === undefined ? undefined : partitions.map((index) => ({ topic, index }))
    })
    const hasUnknown = byTopic.some((partitions) => partitions === undefined)
    return hasUnknown ? undefined : byTopic.flatMap((partitions) => partitions ?? [])
  }

  /** Keeps the membership while running handlers finish, which may take longer than the session timeout. */
  #withHeartbeats(work: Promise<void>): Promise<void> {
    return withHeartbeats(work, {
      intervalMs: () => this.#intervalMs,
      beat: async () => {
        try {
          await this.#beat(null)
          return true
        } catch (thrown) {
          this.#onFailure(toError(thrown), 1)
          return this.#epoch !== 0
        }
      },
    })
  }

  /** @param owned - null if nothing has changed since the last heartbeat. */
  async #beat(owned: readonly TopicPartition[] | null, epoch = this.#epoch): Promise<GroupHeartbeatResponse> {
    const { options, coordinator } = this.#parts
    const names = this.#topics.map(({ name }) => name)
    const sentAt = performance.now()
    const answer = await coordinator.request('group', (apis) => groupHeartbeatOf(apis, options.address), [
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
    if (answer.errorCode !== CODE.NONE) throw new GroupError(answer.errorCode, answer.errorMessage)
    const wasLive = this.#session.isLive
    this.#epoch = answer.memberEpoch
    this.#session.confirm(sentAt, wasLive)
    if (answer.heartbeatIntervalMs > 0) this.#intervalMs = answer.heartbeatIntervalMs
    return answer
  }

  /** Partitions by topic id. A deleted topic has no id, and its partitions have no owner. */
  #idsOf(owned: readonly TopicPartition[]) {
    const ids = new Map(this.#topics.map(({ id, name }) => [name, id]))
    return [...Map.groupBy(owned, ({ topic }) => topic)].flatMap(([topic, partitions]) => {
      const topicId = ids.get(topic)
      return topicId === undefined ? [] : [{ topicId, partitions: partitions.map(({ index }) => index) }]
    })
  }

  #onFailure(error: Error, failures: number): void {
    const { listener, coordinator, options } = this.#parts
    if (!(error instanceof GroupError)) {
      if (!isRetryable(error)) this.#fail(error)
      else if (failures > QUIET_FAILURES) listener.onFailure(error)
      return
    }
    const { errorCode, detail } = error
    coordinator.invalidateOn(errorCode)
    const action = `Membership in the group ${options.consumerGroup}`
    const failure = refusal(options.address, action, errorCode, detail)
    const isEvicted = NOT_A_MEMBER.has(errorCode)
    if (isEvicted) this.#onEvicted()
    if (!isEvicted && !isPassing(errorCode) && errorCode !== CODE.STALE_MEMBER_EPOCH)
      this.#onRefused(errorCode, failure, failures)
    // It consumes nothing meanwhile.
    else if (failures > QUIET_FAILURES) listener.onFailure(failure)
  }

  #onRefused(errorCode: number, failure: Error, failures: number): void {
    if (errorCode === CODE.FENCED_INSTANCE_ID) this.#onEvicted()
    // A release that changes the protocol replaces the members one by one.
    if (OTHER_PROTOCOL.has(errorCode)) this.#parts.listener.onFailure(failure)
    // A static member that was killed can join again once its former session has expired.
    else if (errorCode !== CODE.UNRELEASED_INSTANCE_ID) this.#fail(failure)
    else if (failures > QUIET_FAILURES) this.#parts.listener.onFailure(failure)
  }

  /** Reports a failure, and rejects the first join. After the first join the loop retries. */
  #fail(failure: Error): void {
    this.#parts.listener.onFailure(failure)
    this.#loop.firstAssignment.reject(failure)
  }

  #onEvicted(): void {
    this.#isFullHeartbeatDue = true
    this.#epoch = 0
    this.#owned = []
    this.#parts.listener.onLost()
  }
}

function groupHeartbeatOf(
  { groupHeartbeat }: KafkaApis,
  address: string,
): NonNullable<KafkaApis['groupHeartbeat']> {
  if (groupHeartbeat !== undefined) return groupHeartbeat
  throw new ConnectionError(
    'TOPOLOGY_CONFLICT',
    `Kafka at ${address} does not know groupProtocol 'consumer' (KIP-848); use 'classic'.`,
  )
}
