import { toError } from '../../errors.ts'
import { RetryPolicy } from '../../kit/retry-policy.ts'
import { sleep } from '../../kit/time.ts'
import type { AssignableMember, TopicPartitions } from '../client/client.ts'
import type { JoinGroupResponse } from '../client/protocol.ts'
import { type TopicPartition, without } from '../client/topic-partition.ts'
import { CODE, isPassing, refusal } from '../errors.ts'
import { FirstAssignment, type MemberIdentity, type Membership, type MembershipParts } from './membership.ts'

const AGAIN = new RetryPolicy({
  maxRetries: Number.POSITIVE_INFINITY,
  retryBaseDelayMs: 50,
  retryMaxDelayMs: 2000,
  retryJitter: 0.2,
})

/** Others give up partitions, and the group shares out once more, right after a join. */
const GRACE_MS = 1000

/** The group has put this member out, or never knew it. */
const OUTSIDER: ReadonlySet<number> = new Set([CODE.UNKNOWN_MEMBER_ID, CODE.ILLEGAL_GENERATION])

/** An answer that asks for something else than going on. */
class GroupAnswer extends Error {
  readonly errorCode: number

  constructor(errorCode: number) {
    super(`error ${errorCode}`)
    this.errorCode = errorCode
  }
}

/** Membership by the classic protocol: join, let the leader share out, sync, heartbeats. */
export class ClassicMembership implements Membership {
  readonly #parts: MembershipParts
  readonly #stopped = new AbortController()
  readonly #joined = new FirstAssignment()
  #running: Promise<void> = Promise.resolve()
  #memberId = ''
  #generation = -1
  #isMember = false
  #owned: readonly TopicPartition[] = []
  #lastContact = 0
  #wake = new AbortController()
  #wantsRejoin = false

  constructor(parts: MembershipParts) {
    this.#parts = parts
  }

  get identity(): MemberIdentity | undefined {
    if (!this.#isMember) return undefined
    return { memberId: this.#memberId, generation: this.#generation, groupInstanceId: this.#instance }
  }

  get isFresh(): boolean {
    return this.#isMember && performance.now() - this.#lastContact < this.#parts.options.sessionTimeoutMs
  }

  join(): Promise<void> {
    this.#running = this.#run()
    return this.#joined.promise
  }

  rejoin(): void {
    this.#wantsRejoin = true
    this.#wake.abort()
  }

  async leave(): Promise<void> {
    this.#stopped.abort()
    this.#joined.end()
    this.#wake.abort()
    const { memberId } = this
    // A static member stays, so that it finds its partitions when it comes back in time.
    if (memberId !== '' && this.#instance === null) {
      const { leaveGroup } = this.#parts.session().apis
      const args = [this.#parts.options.consumerGroup, [{ memberId, groupInstanceId: null }]] as const
      await this.#parts.coordinator.request('commit', leaveGroup, [...args]).catch(() => undefined)
    }
    this.#isMember = false
    await this.#running
  }

  get memberId(): string {
    return this.#memberId
  }

  get #instance(): string | null {
    return this.#parts.options.groupInstanceId ?? null
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted && (await this.#parts.whenUp(signal)); ) {
      try {
        await this.#joinOnce()
        failures = 0
        this.#joined.assigned(this.#owned, GRACE_MS)
        await this.#stayUntilRebalance()
      } catch (thrown) {
        if (signal.aborted) return
        failures += 1
        if (!(await this.#recover(toError(thrown), failures))) return
      }
    }
  }

  /** @returns false when going on is pointless */
  async #recover(error: Error, failures: number): Promise<boolean> {
    const { listener, coordinator, options } = this.#parts
    if (error instanceof GroupAnswer) {
      coordinator.heed(error.errorCode)
      if (error.errorCode === CODE.FENCED_INSTANCE_ID) {
        // The other process keeps the place: to take it back at once would go to and fro for ever.
        this.#putOut()
        listener.onFailure(
          refusal(options.address, `A place in the group ${options.consumerGroup}`, error.errorCode),
        )
        return sleep(options.sessionTimeoutMs, this.#stopped.signal)
      }
      if (OUTSIDER.has(error.errorCode)) this.#putOut()
      if (error.errorCode === CODE.REBALANCE_IN_PROGRESS || OUTSIDER.has(error.errorCode)) {
        return sleep(failures > 1 ? AGAIN.backoff(failures) : 0, this.#stopped.signal)
      }
    } else if ('retryable' in error && error.retryable === false) {
      listener.onFailure(error)
      this.#joined.reject(error)
      this.#putOut()
    } else if (failures > 3) listener.onFailure(error)
    return sleep(AGAIN.backoff(failures), this.#stopped.signal)
  }

  #putOut(): void {
    this.#memberId = ''
    this.#generation = -1
    this.#isMember = false
    this.#owned = []
    this.#parts.listener.onLost()
  }

  async #joinOnce(): Promise<void> {
    const { options, listener } = this.#parts
    this.#wantsRejoin = false
    const isEager = options.partitionAssignor === 'roundrobin'
    if (isEager && this.#owned.length > 0) await this.#giveUp(this.#owned)
    for (;;) {
      const topics = await this.#parts.topics()
      const joined = await this.#sendJoin(topics.map(({ name }) => name))
      const sentAt = performance.now()
      const assigned = await this.#sync(joined, topics)
      this.#isMember = true
      this.#heardOf(sentAt)
      listener.onRebalance()
      const revoked = without(this.#owned, assigned)
      if (revoked.length > 0) await this.#giveUp(revoked)
      this.#owned = assigned
      await this.#withHeartbeats(listener.onAssigned(assigned))
      // The others can have what was given up only when the group has shared out once more.
      if (revoked.length === 0 || isEager) return
    }
  }

  async #giveUp(places: readonly TopicPartition[]): Promise<void> {
    await this.#withHeartbeats(this.#parts.listener.onRevoked(places))
    this.#owned = without(this.#owned, places)
  }

  /** Running handlers may take long, and their member lives. */
  async #withHeartbeats(work: Promise<void>): Promise<void> {
    const done = new AbortController()
    const beating = (async () => {
      while (await sleep(this.#parts.options.heartbeatIntervalMs, done.signal)) {
        const code = await this.#beat().catch(() => CODE.NONE)
        if (!OUTSIDER.has(code) && code !== CODE.FENCED_INSTANCE_ID) continue
        this.#putOut()
        return
      }
    })()
    try {
      await work
    } finally {
      done.abort()
      await beating
    }
    if (!this.#isMember && this.#generation < 0) throw new GroupAnswer(CODE.UNKNOWN_MEMBER_ID)
  }

  async #sendJoin(topics: readonly string[]): Promise<JoinGroupResponse> {
    const { options, coordinator, session } = this.#parts
    const { library, apis } = session()
    const metadata = library.encodeConsumerProtocolSubscription({
      version: 2,
      topics,
      userData: Buffer.alloc(0),
      ownedPartitions: gather(this.#owned),
      generationId: this.#owned.length > 0 ? this.#generation : -1,
    })
    const protocols = [{ name: options.partitionAssignor, metadata }]
    const timeoutMs = Math.max(options.maxPollIntervalMs, options.sessionTimeoutMs) + options.requestTimeoutMs
    for (;;) {
      using _waiting = this.#whileWaiting()
      const answer = await coordinator.request(
        'group',
        apis.joinGroup,
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
      if (answer.errorCode === CODE.MEMBER_ID_REQUIRED) {
        this.#memberId = answer.memberId
        continue
      }
      this.#check(answer.errorCode, 'Joining')
      this.#memberId = answer.memberId
      this.#generation = answer.generationId
      return answer
    }
  }

  async #sync(
    joined: JoinGroupResponse,
    topics: readonly { readonly name: string; readonly partitions: number }[],
  ): Promise<readonly TopicPartition[]> {
    const { options, coordinator, session } = this.#parts
    const { library, apis } = session()
    const assignments = joined.leader === joined.memberId ? this.#assign(joined, topics) : []
    const answer = await coordinator.request('group', apis.syncGroup, [
      options.consumerGroup,
      this.#generation,
      this.#memberId,
      this.#instance,
      'consumer',
      joined.protocolName,
      assignments,
    ])
    this.#check(answer.errorCode, 'Syncing with')
    const { assignedPartitions } = library.decodeConsumerProtocolAssignment(answer.assignment)
    return assignedPartitions.flatMap(({ topic, partitions }) =>
      partitions.map((index) => ({ topic, index })),
    )
  }

  /** The leader's work: shares out the partitions among the members. */
  #assign(
    joined: JoinGroupResponse,
    topics: readonly { readonly name: string; readonly partitions: number }[],
  ) {
    const { library } = this.#parts.session()
    const members = new Map<string, AssignableMember>()
    for (const { memberId, metadata } of joined.members) {
      const subscription = library.decodeConsumerProtocolSubscription(metadata)
      members.set(memberId, { ...subscription, memberId })
    }
    const known = new Map(topics.map(({ name, partitions }) => [name, { partitionsCount: partitions }]))
    const wanted = [...members.values()].flatMap((member) => member.topics).filter((name) => known.has(name))
    const isEager = this.#parts.options.partitionAssignor === 'roundrobin'
    const assignor = isEager ? library.roundRobinAssigner : library.cooperativeStickyAssigner
    return assignor(this.#memberId, members, new Set(wanted), { topics: known }).map(
      ({ memberId, assignments }) => ({
        memberId,
        assignment: library.encodeConsumerProtocolAssignment({
          version: isEager ? 0 : 2,
          assignedPartitions: [...assignments.values()],
          userData: null,
        }),
      }),
    )
  }

  async #stayUntilRebalance(): Promise<void> {
    while (!this.#wantsRejoin) {
      this.#wake = new AbortController()
      const either = AbortSignal.any([this.#wake.signal, this.#stopped.signal])
      const isTime = await sleep(this.#parts.options.heartbeatIntervalMs, either)
      if (this.#stopped.signal.aborted || !isTime) return
      const code = await this.#beat()
      if (code !== CODE.NONE) throw new GroupAnswer(code)
    }
  }

  async #beat(use: 'group' | 'commit' = 'group'): Promise<number> {
    const { options, coordinator, session } = this.#parts
    // An answer may have waited here for long, where this process stood still: what counts is when it was asked for.
    const sentAt = performance.now()
    const { errorCode } = await coordinator.request(
      use,
      session().apis.heartbeat,
      [options.consumerGroup, this.#generation, this.#memberId, this.#instance],
      Math.min(options.requestTimeoutMs, options.sessionTimeoutMs),
    )
    if (errorCode === CODE.NONE || errorCode === CODE.REBALANCE_IN_PROGRESS) this.#heardOf(sentAt)
    return errorCode
  }

  #heardOf(time: number): void {
    const wasFresh = this.isFresh
    this.#lastContact = Math.max(this.#lastContact, time)
    if (!wasFresh && this.isFresh) this.#parts.listener.onResumed()
  }

  /**
   * A join waits at the coordinator until all members have come. Heartbeats beside it tell whether the coordinator lives
   * and this is still a member; where it is not, the join waits in vain.
   */
  #whileWaiting(): Disposable {
    const done = new AbortController()
    if (this.#isMember) void this.#beatUntil(done.signal)
    return { [Symbol.dispose]: () => done.abort() }
  }

  async #beatUntil(done: AbortSignal): Promise<void> {
    const { options, coordinator } = this.#parts
    while (await sleep(options.heartbeatIntervalMs, done)) {
      const code = await this.#beat('commit').catch(() => CODE.COORDINATOR_NOT_AVAILABLE)
      if (done.aborted || code === CODE.NONE || code === CODE.REBALANCE_IN_PROGRESS) continue
      await coordinator.cut('group')
      return
    }
  }

  #check(code: number, what: string): void {
    if (code === CODE.NONE) return
    const isAnswer =
      OUTSIDER.has(code) || code === CODE.FENCED_INSTANCE_ID || code === CODE.REBALANCE_IN_PROGRESS
    if (isAnswer || isPassing(code)) throw new GroupAnswer(code)
    throw refusal(this.#parts.options.address, `${what} the group ${this.#parts.options.consumerGroup}`, code)
  }
}

function gather(places: readonly TopicPartition[]): TopicPartitions[] {
  const byTopic = new Map<string, number[]>()
  for (const { topic, index } of places) byTopic.set(topic, [...(byTopic.get(topic) ?? []), index])
  return [...byTopic].map(([topic, partitions]) => ({ topic, partitions }))
}
