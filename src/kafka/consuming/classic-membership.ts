import { READ_BACKOFF } from '../../kit/backoff.ts'
import type { JoinGroupResponse } from '../client/protocol.ts'
import { type TopicPartition, without } from '../client/topic-partition.ts'
import { CODE, isPassing, isRetryable, refusal } from '../errors.ts'
import { assignPartitions, groupByTopic, memberDataOf, membersOf, ungroup } from './classic-assignment.ts'
import { groupDataOf } from './group-types.ts'
import { withHeartbeats } from './heartbeats.ts'
import { watchJoin } from './join-watch.ts'
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

/** Right after a join, other members release partitions and the group rebalances once more. */
const GRACE_MS = 1000

/** The group has evicted this member, or never knew it. */
const NOT_A_MEMBER: ReadonlySet<number> = new Set([CODE.UNKNOWN_MEMBER_ID, CODE.ILLEGAL_GENERATION])

/** Membership by the classic protocol: join, sync with the leader's assignment, then heartbeats until a rebalance. */
export class ClassicMembership implements Membership, MembershipProtocol {
  readonly #parts: MembershipParts
  readonly #loop: MembershipLoop
  readonly #session: MemberSession
  readonly #isEager: boolean
  #memberId = ''
  /** Ends when the request for the id is answered or has failed. */
  #gettingId: Promise<void> = Promise.resolve()
  #generation = -1
  #isMember = false
  #owned: readonly TopicPartition[] = []
  #isRejoinRequested = false

  constructor(parts: MembershipParts) {
    this.#parts = parts
    this.#loop = new MembershipLoop((signal) => parts.cluster.whenUp(signal))
    this.#session = new MemberSession({
      timeoutMs: parts.options.sessionTimeoutMs,
      isMember: () => this.#isMember,
      onResumed: () => parts.listener.onResumed(),
    })
    this.#isEager = parts.options.partitionAssignor === 'roundrobin'
  }

  get identity(): MemberIdentity | undefined {
    if (!this.#isMember) return undefined
    return { memberId: this.#memberId, generation: this.#generation, groupInstanceId: this.#instance }
  }

  get hasLiveSession(): boolean {
    return this.#session.isLive
  }

  join(): Promise<void> {
    this.#loop.start(this)
    return this.#loop.firstAssignment.promise
  }

  rejoin(): void {
    this.#isRejoinRequested = true
    this.#loop.interrupt()
  }

  async leave(): Promise<void> {
    this.#loop.stop()
    await this.#gettingId
    const memberId = this.#memberId
    // A static member does not leave: it keeps its partitions if it returns within the session timeout.
    if (memberId !== '' && this.#instance === null) {
      const args = [this.#parts.options.consumerGroup, [{ memberId, groupInstanceId: null }]] as const
      await this.#parts.coordinator
        .request('commit', ({ leaveGroup }) => leaveGroup, [...args])
        .catch(() => undefined)
    }
    this.#isMember = false
    // A join may wait for the other members, whose handlers run.
    await this.#parts.coordinator.cut('group')
    await this.#loop.ended
  }

  get #instance(): string | null {
    return this.#parts.options.groupInstanceId ?? null
  }

  async enter(): Promise<void> {
    const { listener } = this.#parts
    this.#isRejoinRequested = false
    this.#parts.groupTypes.joining()
    if (this.#isEager && this.#owned.length > 0) await this.#giveUp(this.#owned)
    for (;;) {
      const topics = await this.#parts.topics()
      const joined = await this.#sendJoin(topics.map(({ name }) => name))
      const sentAt = performance.now()
      const assigned = await this.#sync(joined, topics)
      this.#isMember = true
      this.#session.confirm(sentAt)
      listener.onRebalance()
      const revoked = without(this.#owned, assigned)
      if (revoked.length > 0) await this.#giveUp(revoked)
      this.#owned = assigned
      await this.#withHeartbeats(listener.onAssigned(assigned))
      // Cooperative rebalancing assigns the partitions that were given up in a second join.
      if (revoked.length === 0 || this.#isEager) break
    }
    this.#loop.firstAssignment.assigned(this.#owned, GRACE_MS)
  }

  async stay(): Promise<void> {
    while (!this.#isRejoinRequested) {
      const isDue = await this.#loop.pause(this.#parts.options.heartbeatIntervalMs)
      if (this.#loop.isStopped || !isDue) return
      const code = await this.#beat()
      if (code !== CODE.NONE) throw new GroupError(code)
    }
  }

  recover(error: Error, failures: number): number {
    const { listener, coordinator } = this.#parts
    if (error instanceof GroupError) {
      coordinator.invalidateOn(error.errorCode)
      if (error.errorCode === CODE.FENCED_INSTANCE_ID) return this.#yieldTo(error.errorCode)
      if (OTHER_PROTOCOL.has(error.errorCode)) return this.#waitForOthers(error.errorCode)
      const isEvicted = NOT_A_MEMBER.has(error.errorCode)
      if (isEvicted) this.#onEvicted()
      const isRebalancing = error.errorCode === CODE.REBALANCE_IN_PROGRESS
      if (failures > QUIET_FAILURES && !isRebalancing) this.#reportRefusal(error.errorCode)
      if (isEvicted || isRebalancing) return failures > 1 ? READ_BACKOFF.backoff(failures) : 0
    } else if (!isRetryable(error)) {
      listener.onFailure(error)
      this.#loop.firstAssignment.reject(error)
      this.#onEvicted()
    } else if (failures > QUIET_FAILURES) listener.onFailure(error)
    return READ_BACKOFF.backoff(failures)
  }

  /** Another process joined with the same instance id. To take the membership back at once would never end. */
  #yieldTo(errorCode: number): number {
    const { listener, options } = this.#parts
    this.#onEvicted()
    listener.onFailure(
      refusal(options.address, `Membership in the group ${options.consumerGroup}`, errorCode),
    )
    return options.sessionTimeoutMs
  }

  /** A release that changes the assignor replaces the members one by one. */
  #waitForOthers(errorCode: number): number {
    this.#reportRefusal(errorCode)
    return OTHER_PROTOCOL_RETRY_MS
  }

  #reportRefusal(errorCode: number): void {
    const { listener, options } = this.#parts
    listener.onFailure(refusal(options.address, `Joining the group ${options.consumerGroup}`, errorCode))
  }

  #onEvicted(): void {
    this.#memberId = ''
    this.#generation = -1
    this.#isMember = false
    this.#owned = []
    this.#parts.listener.onLost()
  }

  async #giveUp(partitions: readonly TopicPartition[]): Promise<void> {
    await this.#withHeartbeats(this.#parts.listener.onRevoked(partitions))
    this.#owned = without(this.#owned, partitions)
  }

  /** Keeps the membership while running handlers finish, which may take longer than the session timeout. */
  async #withHeartbeats(work: Promise<void>): Promise<void> {
    await withHeartbeats(work, {
      intervalMs: () => this.#parts.options.heartbeatIntervalMs,
      beat: async () => {
        const code = await this.#beat().catch(() => CODE.NONE)
        if (!NOT_A_MEMBER.has(code) && code !== CODE.FENCED_INSTANCE_ID) return true
        this.#onEvicted()
        return false
      },
    })
    if (!this.#isMember && this.#generation < 0) throw new GroupError(CODE.UNKNOWN_MEMBER_ID)
  }

  async #sendJoin(topics: readonly string[]): Promise<JoinGroupResponse> {
    const { options, coordinator, cluster, groupTypes } = this.#parts
    const { library } = cluster
    const metadata = library.encodeConsumerProtocolSubscription({
      version: 2,
      topics,
      userData: groupTypes.memberData,
      ownedPartitions: groupByTopic(this.#owned),
      generationId: this.#owned.length > 0 ? this.#generation : -1,
    })
    const protocols = [{ name: options.partitionAssignor, metadata }]
    const send = (timeoutMs: number) =>
      coordinator.request(
        'group',
        ({ joinGroup }) => joinGroup,
        [
          options.consumerGroup,
          options.sessionTimeoutMs,
          options.maxPollIntervalMs,
          this.#memberId,
          this.#instance,
          'consumer',
          protocols,
          '',
        ],
        timeoutMs,
      )
    if (this.#memberId === '' && this.#instance === null) await this.#getMemberId(send)
    // The member that has its id by now would delay the next join of the others until its session expires.
    if (this.#loop.isStopped) throw new GroupError(CODE.UNKNOWN_MEMBER_ID)
    using _watch = this.#watchJoin()
    const longest = Math.max(options.maxPollIntervalMs, options.sessionTimeoutMs) + options.requestTimeoutMs
    const answer = await send(longest)
    this.#check(answer.errorCode, 'Joining')
    this.#memberId = answer.memberId
    this.#generation = answer.generationId
    return answer
  }

  /** Gets an id for this member, which the coordinator assigns at once. The group waits for a join with it from then on. */
  async #getMemberId(send: (timeoutMs: number) => Promise<JoinGroupResponse>): Promise<void> {
    const answer = send(this.#parts.options.requestTimeoutMs)
    this.#gettingId = answer.then(
      ({ memberId }) => {
        this.#memberId = memberId
      },
      () => undefined,
    )
    const { errorCode } = await answer
    await this.#gettingId
    if (errorCode !== CODE.MEMBER_ID_REQUIRED) this.#check(errorCode, 'Joining')
  }

  async #sync(
    joined: JoinGroupResponse,
    topics: readonly SubscribedTopic[],
  ): Promise<readonly TopicPartition[]> {
    const { options, coordinator, cluster } = this.#parts
    const { library } = cluster
    const isLeader = joined.leader === joined.memberId
    const assignments = isLeader ? await this.#assign(joined, topics) : []
    const answer = await coordinator.request('group', ({ syncGroup }) => syncGroup, [
      options.consumerGroup,
      this.#generation,
      this.#memberId,
      this.#instance,
      'consumer',
      joined.protocolName,
      assignments,
    ])
    this.#check(answer.errorCode, 'Syncing with')
    const { assignedPartitions, userData } = library.decodeConsumerProtocolAssignment(answer.assignment)
    this.#parts.groupTypes.joined(userData)
    return ungroup(assignedPartitions)
  }

  /** Assigns, as the leader, what any member subscribed to. Other members of the group may consume other topics. */
  async #assign(joined: JoinGroupResponse, topics: readonly SubscribedTopic[]) {
    const { cluster, partitionCounts } = this.#parts
    const members = membersOf(cluster.library, joined)
    const counts = new Map(topics.map(({ name, partitions }) => [name, partitions]))
    const others = members.flatMap((member) => [...member.topics]).filter((name) => !counts.has(name))
    for (const [name, count] of await partitionCounts([...new Set(others)])) counts.set(name, count)
    return assignPartitions(cluster.library, members, counts, {
      isEager: this.#isEager,
      userData: groupDataOf(memberDataOf(cluster.library, joined)),
    })
  }

  async #beat(use: 'group' | 'commit' = 'group'): Promise<number> {
    const { options, coordinator } = this.#parts
    const sentAt = performance.now()
    const { errorCode } = await coordinator.request(
      use,
      ({ heartbeat }) => heartbeat,
      [options.consumerGroup, this.#generation, this.#memberId, this.#instance],
      Math.min(options.requestTimeoutMs, options.sessionTimeoutMs),
    )
    const isConfirmed = errorCode === CODE.NONE || errorCode === CODE.REBALANCE_IN_PROGRESS
    if (isConfirmed) this.#session.confirm(sentAt)
    return errorCode
  }

  #watchJoin(): Disposable {
    const { options, coordinator, listener } = this.#parts
    return watchJoin({
      options,
      coordinator,
      isMember: this.#isMember,
      beat: () => this.#beat('commit'),
      onSlow: (detail) => {
        // A member that owns partitions consumes them meanwhile.
        if (this.#owned.length === 0) listener.onWaiting(detail)
      },
    })
  }

  /** @throws GroupError if the member has to rejoin or retry; ConnectionError if the group refuses it permanently. */
  #check(code: number, action: string): void {
    if (code === CODE.NONE) return
    const requiresRejoin =
      NOT_A_MEMBER.has(code) || code === CODE.FENCED_INSTANCE_ID || code === CODE.REBALANCE_IN_PROGRESS
    if (requiresRejoin || isPassing(code) || OTHER_PROTOCOL.has(code)) throw new GroupError(code)
    const { address, consumerGroup } = this.#parts.options
    throw refusal(address, `${action} the group ${consumerGroup}`, code)
  }
}
