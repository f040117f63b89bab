import { describe, expect, it, onTestFinished } from 'vitest'
import { fetchRanges } from '../../../src/kafka/client/fetch.ts'
import { logRanges } from '../../../src/kafka/client/log-ranges.ts'
import { KafkaAssignedPartition } from '../../../src/kafka/consuming/assigned-partition.ts'
import { KafkaFetcher } from '../../../src/kafka/consuming/fetcher.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import { waitFor } from '../../support/wait-for.ts'
import { signedBatch, storedBatch } from '../wire/batches.ts'
import {
  API,
  connectedTo,
  FAKE_PARTITION,
  FAKE_TOPIC,
  FakeKafka,
  frame,
  type Lie,
  ROOMY_INTAKE,
} from './fake-kafka.ts'

const MIB = 1_048_576

type Scene = Awaited<ReturnType<typeof connectedTo>>

function fetchFrom({ cluster, options }: Scene, offset: number) {
  const range = { topicId: FAKE_TOPIC.id, index: 0, offset }
  const limits = {
    maxWaitMs: 10,
    maxBytes: MIB,
    maxAnswerBytes: MIB,
    timeoutMs: 2000,
    use: 'fetch',
    options,
  } as const
  return fetchRanges(cluster, 1, [range], limits)
}

function size(bytes: number): Buffer {
  const header = Buffer.alloc(4)
  header.writeInt32BE(bytes)
  return header
}

const FLOOD = Buffer.concat([size(2 ** 31 - 1), Buffer.alloc(4 * MIB)])
const LARGE = frame(1, Buffer.alloc(3 * MIB))

/** Sizes that no response has, or that would fill the memory. */
const frames: readonly (readonly [name: string, Lie])[] = [
  ...[-1, -(2 ** 31), 0, 1, 2, 3].map(
    (bytes) => [`a size of ${bytes}`, () => Buffer.concat([size(bytes), Buffer.alloc(64)])] as const,
  ),
  ['a size of 2^31-1', () => FLOOD],
  ['a size over the limit', () => LARGE],
  ['another correlation id', (id) => frame(id + 1, Buffer.alloc(64))],
  ['a body that ends early', (id) => frame(id, Buffer.alloc(3))],
  [
    'an array of 2^31 items',
    (id) => frame(id, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07])),
  ],
]

const text = (value: string) => ({ key: 'k', value, headers: [] })
const honest = storedBatch([text('a'), text('b')], { offset: 10 })

function withDelta(delta: number): Buffer {
  const batch = Buffer.from(honest)
  batch.writeInt32BE(delta, 23)
  return signedBatch(batch)
}

function withOffset(offset: bigint): Buffer {
  const batch = Buffer.from(honest)
  batch.writeBigInt64BE(offset, 0)
  return batch
}

describe.each(frames)('a server that sends %s', (_name, lie) => {
  it('is an error with a code at connect, in bounded memory', async () => {
    const fake = await FakeKafka.start()
    fake.lieAbout(API.apiVersions, lie)
    const before = process.memoryUsage().arrayBuffers
    await expect(connectedTo(fake)).rejects.toMatchObject({
      // A list of versions without the needed ones is an old broker.
      code: expect.stringMatching(/^(CONNECTION_FAILED|TOPOLOGY_CONFLICT)$/),
    })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MIB)
  })

  it('is an error with a code at a fetch, and a valid response is read after it', async () => {
    const fake = await FakeKafka.start()
    const scene = await connectedTo(fake)
    fake.range = { records: honest, highWatermark: 12n }
    fake.lieAbout(API.fetch, lie)
    await expect(fetchFrom(scene, 10)).rejects.toMatchObject({ name: expect.stringContaining('Error') })
    fake.lieAbout(API.fetch, undefined)
    const [range] = await fetchFrom(scene, 10)
    expect(range?.records.map(({ value }) => value?.toString())).toEqual(['a', 'b'])
  })
})

describe('a server that reports wrong offsets', () => {
  const lies = [
    ['offsets near 2^63', withOffset(2n ** 63n - 3n), 12n],
    ['offsets near 2^63, as the end of the log too', withOffset(2n ** 63n - 3n), 2n ** 63n - 1n],
    ['a negative offset', withOffset(-5n), 12n],
    ['an end 2^31 beyond the log', withDelta(2 ** 31 - 1), 12n],
    ['an end before the start', withDelta(-3), 12n],
    ['a batch that ends before the offset', withOffset(3n), 12n],
    ['bytes that hold no batch', Buffer.alloc(40, 1), 12n],
    ['damaged batches in a log that has none', Buffer.alloc(200, 2), 10n],
  ] as const

  it.each(lies)('moves no position: %s', async (_name, records, highWatermark) => {
    const fake = await FakeKafka.start()
    const scene = await connectedTo(fake)
    fake.range = { records, highWatermark }
    const [range] = await fetchFrom(scene, 10)
    expect(range).toMatchObject({ records: [], nextOffset: 10 })
    expect(range?.impossible).toMatch(/^it holds /)
  })

  it('returns no record twice: a repeated batch ends the response', async () => {
    const fake = await FakeKafka.start()
    const scene = await connectedTo(fake)
    fake.range = { records: Buffer.concat([honest, honest]), highWatermark: 12n }
    const [range] = await fetchFrom(scene, 10)
    expect(range?.records.map(({ offset }) => offset)).toEqual([10, 11])
    expect(range).toMatchObject({ nextOffset: 12, impossible: expect.stringContaining('10 to 11') })
  })

  it('is reported after a few attempts, at a low rate, and a valid response is handled after it', async () => {
    const fake = await FakeKafka.start()
    const scene = await connectedTo(fake)
    fake.range = { records: withDelta(-3), highWatermark: 12n }
    const failures: Error[] = []
    const owner = {
      isMember: () => true,
      onFinished: () => undefined,
      onGivenBack: () => undefined,
      requestCommit: () => undefined,
      whenCommitted: () => Promise.resolve(true),
      postpone: () => Promise.resolve(),
      waitBehind: () => Promise.resolve(0),
      passOn: () => Promise.resolve(),
      deadLetter: () => Promise.resolve(),
    }
    const partition = new KafkaAssignedPartition(owner, FAKE_PARTITION, {
      offset: 10,
      progress: readProgress(10, null),
    })
    const fetcher = new KafkaFetcher({
      ...scene,
      intake: ROOMY_INTAKE,
      partitions: () => [partition],
      onFetched: () => undefined,
      onOutOfRange: () => Promise.resolve(),
      onCut: () => undefined,
      onUnreadable: () => Promise.resolve(),
      refreshTopics: () => scene.topics.refresh(),
      onFailure: (error) => failures.push(error),
    })
    onTestFinished(() => fetcher.stop())
    fetcher.startLoops()
    await waitFor(() => failures.length > 0)
    expect(failures[0]).toMatchObject({ code: 'CONNECTION_FAILED' })
    expect(failures[0]?.message).toMatch(/partition 0, is impossible: it holds the offsets 10 to 7/)
    expect(partition.position).toBe(10)
    expect(fake.requests(API.fetch)).toBeLessThan(20)
    fake.range = { records: honest, highWatermark: 12n }
    await waitFor(() => partition.buffered === 2)
  })

  it('is refused when it lists an offset that no log has', async () => {
    const fake = await FakeKafka.start()
    const { cluster, topics } = await connectedTo(fake)
    fake.endOffset = 2n ** 63n - 1n
    await expect(logRanges(cluster, topics, [{ topic: FAKE_TOPIC.name, index: 0 }])).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
    })
  })
})
