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
import { KafkaCoordinator } from '../client/coordinator.ts'
import { fetchRanges } from '../client/fetch.ts'
import { logRanges } from '../client/log-ranges.ts'
import { partitionKey, partitionsOf, type TopicPartition } from '../client/topic-partition.ts'
import type { KafkaTopic } from '../client/topics.ts'
import { type CommittedOffset, committedOffsets } from '../consuming/offsets.ts'
import type { KafkaWaitingRecords } from '../consuming/waiting-records.ts'
import { CODE } from '../errors.ts'
import type { StoredRecord } from '../wire/stored-record.ts'
import { type ListedGroup, membersOn, ownerOf } from './group-directory.ts'
import type { KafkaScanParts } from './scan.ts'

/** A record of a topic, as a group sees it. */
interface Place extends TopicPartition {
  readonly offset: number
}

interface GroupState {
  readonly group: ListedGroup
  readonly committed: ReadonlyMap<string, CommittedOffset>
  readonly replays: KafkaTopic | undefined
}

/** How far the groups are with an event. It compares offsets with those that the groups have committed. */
export class KafkaProgress {
  readonly #parts: KafkaScanParts
  readonly #waitingOf: (group: string) => KafkaWaitingRecords

  constructor(parts: KafkaScanParts, waitingOf: (group: string) => KafkaWaitingRecords) {
    this.#parts = parts
    this.#waitingOf = waitingOf
  }

  async of(
    listed: readonly ListedGroup[],
    { eventId, scanned }: EventPlace,
  ): Promise<readonly GroupProgress[]> {
    const { topics, options } = this.#parts
    const stream = await topics.find(options.topics.stream)
    if (stream === undefined) return []
    const [index = 0, offset = 0] = scanned?.message.id.split(':').map(Number) ?? []
    const place = scanned === undefined ? undefined : { topic: stream.name, index, offset }
    const found = await Promise.all(listed.map((group) => this.#progressOf(group, stream, eventId, place)))
    return found.filter((progress) => progress !== undefined)
  }

  async #progressOf(
    group: ListedGroup,
    stream: KafkaTopic,
    eventId: string,
    place: Place | undefined,
  ): Promise<GroupProgress | undefined> {
    const { cluster, topics, options } = this.#parts
    const { name } = group
    const replays = await topics.find(options.topics.replays(name))
    const consumed = replays === undefined ? [stream] : [stream, replays]
    const partitions = consumed.flatMap((topic) => partitionsOf(topic.name, topic.leaders.length))
    const coordinator = new KafkaCoordinator(cluster, name)
    const committed = await committedOffsets(cluster, coordinator, name, undefined, partitions)
    const hasCommitted = [...committed.keys()].some((key) => key.startsWith(`${stream.name} `))
    if (membersOn(group, stream).length === 0 && !hasCommitted) return undefined
    const state = { group, committed, replays }
    const [waits, replay] = await Promise.all([this.#waitsOf(name, eventId), this.#replayOf(state, eventId)])
    const remark = 'the event is not among the records that were read'
    const own =
      place === undefined ? progressOf(name, 'unknown', { remark }) : recordState(state, stream, place)
    return withOpenWork(own, replay, waits)
  }

  async #waitsOf(group: string, eventId: string): Promise<readonly HandlerWait[]> {
    const found = await this.#waitingOf(group).waiting(MAX_SEARCHED)
    const waits = found.map(({ position: { dueAt, isFirst }, record: { headerTexts } }) =>
      isOfEvent(headerTexts, eventId)
        ? waitIn(headerTexts, isFirst ? new Date(dueAt) : undefined)
        : undefined,
    )
    return waits.filter((wait) => wait !== undefined)
  }

  /** The newest replay of the event that the group has not settled. */
  async #replayOf(state: GroupState, eventId: string): Promise<GroupProgress | undefined> {
    const { replays, committed } = state
    if (replays === undefined) return undefined
    const { cluster, topics } = this.#parts
    const partitions = partitionsOf(replays.name, replays.leaders.length)
    const ranges = await logRanges(cluster, topics, partitions)
    for (const partition of partitions) {
      const key = partitionKey(partition)
      const { start, end } = ranges.get(key) ?? { start: 0, end: 0 }
      const from = Math.max(start, committed.get(key)?.offset ?? start)
      const records = await this.#read(replays, partition.index, from, end)
      const open = records
        .filter(({ headerTexts }) => isOfEvent(headerTexts, eventId))
        .map(({ offset }) => recordState(state, replays, { ...partition, offset }))
        .findLast((progress) => progress.state !== 'settled')
      if (open !== undefined) return { ...open, isReplay: true }
    }
    return undefined
  }

  async #read(topic: KafkaTopic, index: number, from: number, end: number): Promise<readonly StoredRecord[]> {
    const { cluster, options } = this.#parts
    const { fetchMaxBytes: maxBytes, requestTimeoutMs: timeoutMs } = options
    const limits = { maxWaitMs: 0, maxBytes, maxAnswerBytes: maxBytes, timeoutMs, options } as const
    const found: StoredRecord[] = []
    for (let next = from; next < end && found.length < MAX_SEARCHED; ) {
      const ranges = [{ topicId: topic.id, index, offset: next }]
      const node = topic.leaders[index] ?? -1
      const [answer] = await fetchRanges(cluster, node, ranges, { ...limits, use: 'deadLetters' })
      if (answer?.errorCode !== CODE.NONE || answer.nextOffset <= next) break
      found.push(...answer.records)
      next = answer.nextOffset
    }
    return found
  }
}

/** A commit follows the handling by up to `commitIntervalMs`. */
function recordState({ group, committed }: GroupState, topic: KafkaTopic, place: Place): GroupProgress {
  const { offset } = place
  const found = committed.get(partitionKey(place))
  const finished = found?.progress.finished ?? []
  const isFinished = finished.some(([from, to]) => from <= offset && offset < to)
  if (isFinished || offset < (found?.offset ?? 0)) return progressOf(group.name, 'settled')
  const members = membersOn(group, topic)
  const attempts = found?.progress.attempts.get(offset)
  return progressOf(group.name, members.length === 0 ? 'waiting' : 'unsettled', {
    consumer: ownerOf(members, topic.name, place.index),
    attempts: attempts?.count,
    settledHandlers: attempts?.settledHandlers ?? [],
  })
}
