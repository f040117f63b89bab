import { expect, it, onTestFinished } from 'vitest'
import { KafkaCoordinator } from '../../../src/kafka/client/coordinator.ts'
import { KafkaAssignedPartition } from '../../../src/kafka/consuming/assigned-partition.ts'
import { KafkaFetcher } from '../../../src/kafka/consuming/fetcher.ts'
import { StartOffsets } from '../../../src/kafka/consuming/start-offsets.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import type { BusNotice } from '../../../src/transport/index.ts'
import { waitFor } from '../../support/wait-for.ts'
import { connectedTo, FAKE_PARTITION, FakeKafka, ROOMY_INTAKE } from '../client/fake-kafka.ts'
import { signedBatch, storedBatch } from '../wire/batches.ts'
import { PARTITION_OWNER } from './partition-model.ts'

function batchOf(epoch: number, offset: number, values: readonly string[]): Buffer {
  const records = values.map((value) => ({ key: 'k', value, headers: [] }))
  const batch = storedBatch(records, { offset })
  batch.writeInt32BE(epoch, 12)
  return signedBatch(batch)
}

/** A partition that is fetched from a server, from the committed offset 10 on. */
async function fetching(epoch?: number) {
  const fake = await FakeKafka.start()
  const scene = await connectedTo(fake)
  const notices: BusNotice[] = []
  const host = { notify: (notice: BusNotice) => notices.push(notice) }
  const coordinator = new KafkaCoordinator(scene.cluster, 'group')
  const startOffsets = new StartOffsets({ ...scene, coordinator, host })
  const start = { offset: 10, progress: readProgress(10, null), epoch }
  const partition = new KafkaAssignedPartition(PARTITION_OWNER, FAKE_PARTITION, start)
  const fetcher = new KafkaFetcher({
    ...scene,
    intake: ROOMY_INTAKE,
    partitions: () => [partition],
    onFetched: () => undefined,
    onOutOfRange: () => Promise.resolve(),
    onCut: (cut, offset) => startOffsets.cut(cut, offset),
    onUnreadable: () => Promise.resolve(),
    refreshTopics: () => scene.topics.refresh(),
    onFailure: (error) => {
      throw error
    },
  })
  onTestFinished(() => fetcher.stop())
  return { fake, fetcher, partition, notices }
}

it('reports records that a new leader does not have, and continues where its log differs', async () => {
  const { fake, fetcher, partition, notices } = await fetching()
  fake.range = { records: batchOf(5, 10, ['a', 'b', 'c']), highWatermark: 13n }
  fetcher.startLoops()
  await waitFor(() => partition.position === 13)

  // The next request names the epoch of what was read before its offset.
  const asked = Buffer.from([0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 5])
  fake.range = { records: Buffer.alloc(0), highWatermark: 13n }
  await waitFor(() => fake.lastFetch.includes(asked))

  fake.range = { records: Buffer.alloc(0), highWatermark: 12n, divergesAt: 11n }
  await waitFor(() => partition.position === 11)
  expect(notices).toMatchObject([{ type: 'eventsLost', count: 2 }])
  fake.range = { records: batchOf(6, 11, ['new']), highWatermark: 12n }
  await waitFor(() => partition.position === 12)
  expect(notices).toHaveLength(1)
})

it('notices with the committed epoch that the log was cut while no consumer of the group ran', async () => {
  const { fake, fetcher, partition, notices } = await fetching(5)
  fake.range = { records: Buffer.alloc(0), highWatermark: 12n }
  fetcher.startLoops()
  await waitFor(() => fake.lastFetch.includes(Buffer.from([0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 5])))

  fake.range = { records: Buffer.alloc(0), highWatermark: 12n, divergesAt: 8n }

  await waitFor(() => partition.position === 8)
  expect(notices).toMatchObject([{ type: 'eventsLost', count: 2 }])
})
