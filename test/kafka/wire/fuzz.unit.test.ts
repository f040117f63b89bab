import { describe, expect, it } from 'vitest'
import { type KafkaReader, loadKafka } from '../../../src/kafka/client/client.ts'
import { parseFetch } from '../../../src/kafka/client/fetch.ts'
import { FrameGuard } from '../../../src/kafka/client/frame-guard.ts'
import type { RecordToWrite } from '../../../src/kafka/wire/record-batch.ts'
import { readBatches } from '../../../src/kafka/wire/record-reader.ts'
import { paced } from '../../support/pace.ts'
import { fetchBody, frame } from '../client/fake-kafka.ts'
import { batchAround, signedBatch, storedBatch } from './batches.ts'

/** `npm run fuzz:wire` sets a million. `EVENTSPINE_FUZZ_SEED` repeats a run. */
const { EVENTSPINE_FUZZ_WIRE = '10000', EVENTSPINE_FUZZ_SEED = Date.now() % 1_000_000 } = process.env
const COUNT = Number(EVENTSPINE_FUZZ_WIRE)
const SEED = Number(EVENTSPINE_FUZZ_SEED)
const TIMEOUT_MS = paced(60_000 + COUNT * 5)
const FROM = 10
const END = 40
const LIMITS = { maxBatchBytes: 1_048_576, maxBatchRecords: 1000 }
const MAX_RESPONSE = 1_048_576

const library = await loadKafka()
// The client exports the class that its connections read answers with.
const { Reader } = library as unknown as { readonly Reader: { from(bytes: Buffer): KafkaReader } }

/** Numbers from a seed: mulberry32. */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** A whole number from 0 to `limit - 1`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }

  of<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0]
  }
}

/** Headers that the library itself writes to dead letters, replays and markers. */
const ownHeaders: RecordToWrite['headers'] = [
  ['replay_handlers', '{"handlers":["a"],"settled":[]}'],
  ['dlq_reason', 'max_retries_exceeded'],
  ['dlq_handlers', '["a"]'],
  ['dlq_settled_handlers', '["b"]'],
  ['dlq_original_offset', '7'],
  ['dlq_original_last_offset', '9'],
  ['dlq_removed_offset', '3'],
]
const records: readonly RecordToWrite[] = [
  { key: 'Order-1', value: '{"a":1}', headers: [['event_type', 'OrderCreated'], ...ownHeaders] },
  { key: null, value: null, headers: [] },
  { key: '', value: 'x'.repeat(3000), headers: [['', null]] },
]
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
const whole = codecs.map((codec) => storedBatch(records, { offset: FROM, codec }))
const following = codecs.map((codec) => storedBatch(records, { offset: 20, codec }))
const sizes = [0, 1, -1, 127, 128, 255, 2 ** 15, 2 ** 31 - 1, -(2 ** 31), 2 ** 30] as const

function mutated(random: Random, original: Buffer): Buffer {
  let bytes: Buffer = Buffer.from(original)
  for (let changes = 1 + random.below(4); changes > 0 && bytes.length > 0; changes -= 1) {
    const at = random.below(bytes.length)
    const kind = random.below(6)
    if (kind < 2) bytes[at] = random.below(256)
    else if (kind === 2) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
    else if (kind === 3 && at + 4 <= bytes.length) bytes.writeInt32BE(random.of(sizes), at)
    else if (kind === 4) bytes = bytes.subarray(0, at)
    else if (kind === 5) {
      // A part of it twice.
      const end = at + random.below(Math.min(64, bytes.length - at))
      bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)])
    }
  }
  return bytes
}

/** A batch that was changed as a whole, in its compressed content, or before it was compressed. */
function hostileBatch(random: Random): Buffer {
  const codec = random.below(codecs.length)
  const original = whole[codec] ?? Buffer.alloc(0)
  const kind = random.below(4)
  if (kind === 0) return mutated(random, original)
  if (kind === 1) {
    const batch = mutated(random, original)
    return batch.length < 61 ? batch : signedBatch(batch)
  }
  const count = random.of([3, 3, 3, 0, 30, 1000, 1001, -1, 2 ** 31 - 1])
  const look = { offset: FROM, codec: random.below(40) === 0 ? 5 + random.below(3) : codec, count }
  if (kind === 2) return batchAround(mutated(random, original.subarray(61)), look)
  const plain = mutated(random, (whole[0] ?? Buffer.alloc(0)).subarray(61))
  const algorithm = library.compressionsAlgorithms[codecs[codec] ?? 'none']
  return batchAround(algorithm === undefined || codec === 0 ? plain : algorithm.compressSync(plain), look)
}

async function check(bytes: Buffer, end: number): Promise<number> {
  const context = {
    end,
    enoughBytes: Number.POSITIVE_INFINITY,
    crc32c: library.crc32c,
    limits: LIMITS,
    aborted: [],
  }
  const read = await readBatches(bytes, FROM, context)
  expect(read.nextOffset).toBeGreaterThanOrEqual(FROM)
  expect(read.nextOffset).toBeLessThanOrEqual(Math.max(FROM, end))
  let previous = FROM - 1
  for (const record of read.records) {
    if (record.offset <= previous || record.offset >= end)
      throw new Error(`record ${record.offset} is out of order`)
    previous = record.offset
    // Later access must not fail.
    if (record.headers.length < Object.keys(record.headerTexts).length)
      throw new Error('there are too many headers')
  }
  if (read.nextOffset === FROM && bytes.length > 0) expect(read.impossible).toBeDefined()
  return read.records.length
}

describe('fuzz of the wire format', () => {
  it(`reads or refuses mutated record batches: ${COUNT} of seed ${SEED}`, {
    timeout: TIMEOUT_MS,
  }, async () => {
    const random = new Random(SEED)
    let readable = 0
    for (let index = 0; index < COUNT; index += 1) {
      const batches = [hostileBatch(random), following[random.below(5)] ?? Buffer.alloc(0)]
      if (random.below(3) === 0) batches.reverse()
      readable += (await check(Buffer.concat(batches), END)) > 0 ? 1 : 0
    }
    expect(readable).toBeGreaterThan(COUNT / 100)
  })

  it(`reads or refuses mutated frames: ${COUNT} of seed ${SEED}`, { timeout: TIMEOUT_MS }, async () => {
    const random = new Random(SEED)
    let passed = 0
    for (let index = 0; index < COUNT; index += 1) {
      const range = { records: whole[random.below(5)] ?? Buffer.alloc(0), highWatermark: BigInt(END) }
      const bytes = mutated(random, frame(7, fetchBody(range)))
      const guard = new FrameGuard(MAX_RESPONSE)
      const cut = random.below(bytes.length + 1)
      const fault = guard.fault(bytes.subarray(0, cut)) ?? guard.fault(bytes.subarray(cut))
      if (fault !== undefined || bytes.length < 9) continue
      const size = bytes.readInt32BE(0)
      expect(size).toBeGreaterThanOrEqual(4)
      expect(size).toBeLessThanOrEqual(MAX_RESPONSE)
      passed += 1
      const ranges = parsed(bytes.subarray(9, 4 + size))
      for (const { bytes: batches, highWatermark } of ranges) {
        await check(batches, Number.isSafeInteger(highWatermark) ? highWatermark : 0)
      }
    }
    expect(passed).toBeGreaterThan(COUNT / 100)
  })
})

/** The client catches what a parser throws, and breaks the connection. */
function parsed(body: Buffer): ReturnType<typeof parseFetch> {
  try {
    return parseFetch(Reader.from(body))
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(Error)
    return []
  }
}
