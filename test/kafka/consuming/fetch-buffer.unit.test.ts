import { expect, it, onTestFinished } from 'vitest'
import { KafkaAssignedPartition } from '../../../src/kafka/consuming/assigned-partition.ts'
import { KafkaFetcher } from '../../../src/kafka/consuming/fetcher.ts'
import { readProgress } from '../../../src/kafka/wire/progress.ts'
import { waitFor } from '../../support/wait-for.ts'
import { API, connectedTo, FAKE_PARTITION, FakeKafka, ROOMY_INTAKE } from '../client/fake-kafka.ts'
import { storedBatch } from '../wire/batches.ts'
import { PARTITION_OWNER } from './partition-model.ts'

const EVENT_BYTES = 900_000
const BUFFER_BYTES = ROOMY_INTAKE.roomBytes

it('buffers records up to a number of bytes even if their batches are small, and continues after they are handled', async () => {
  const fake = await FakeKafka.start()
  const scene = await connectedTo(fake)
  const log = Array.from({ length: 200 }, (_, offset) =>
    storedBatch([{ key: 'k', value: Buffer.alloc(EVENT_BYTES), headers: [] }], { offset, codec: 'zstd' }),
  )
  fake.range = { records: Buffer.concat(log), highWatermark: 200n }
  const partition = new KafkaAssignedPartition(PARTITION_OWNER, FAKE_PARTITION, {
    offset: 0,
    progress: readProgress(0, null),
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
    onFailure: (error) => {
      throw error
    },
  })
  onTestFinished(() => fetcher.stop())
  fetcher.startLoops()

  await waitFor(() => partition.bufferedBytes >= BUFFER_BYTES)
  expect(partition.bufferedBytes).toBeLessThan(BUFFER_BYTES + 2 * EVENT_BYTES)
  const { position } = partition
  expect(position).toBeLessThan(40)
  const requests = fake.requests(API.fetch)

  // The buffer is emptied, so the rest is fetched again from the position.
  partition.restart(0)
  partition.restart(position)
  fake.range = { records: Buffer.concat(log.slice(position)), highWatermark: 200n }
  fetcher.wake()
  await waitFor(() => partition.position > position)
  expect(fake.requests(API.fetch)).toBeGreaterThan(requests)
  expect(partition.bufferedBytes).toBeLessThan(BUFFER_BYTES + 2 * EVENT_BYTES)
})
