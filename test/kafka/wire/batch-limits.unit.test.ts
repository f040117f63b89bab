import { zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { loadKafka } from '../../../src/kafka/client/client.ts'
import { decompress } from '../../../src/kafka/wire/decompression.ts'
import { readBatches } from '../../../src/kafka/wire/record-reader.ts'
import { SteppedClock } from '../../support/stepped-clock.ts'
import { batchAround, storedBatch } from './batches.ts'

const library = await loadKafka()
const END = 2 ** 50
const MIB = 1_048_576
const codecs = ['gzip', 'snappy', 'lz4', 'zstd'] as const
const limits = { maxBatchBytes: 2 * MIB, maxBatchRecords: 1000 }

function read(bytes: Buffer, from = 10, crc32c = library.crc32c) {
  return readBatches(bytes, from, {
    end: END,
    enoughBytes: Number.POSITIVE_INFINITY,
    crc32c,
    limits,
    aborted: [],
  })
}

/** Bytes of buffers that are allocated while an action runs. */
async function allocatedBy(action: () => unknown): Promise<number> {
  const before = process.memoryUsage().arrayBuffers
  let most = before
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers)
  }, 1)
  await action()
  clearInterval(watch)
  return Math.max(most, process.memoryUsage().arrayBuffers) - before
}

const good = storedBatch([{ key: 'k', value: 'good', headers: [] }], { offset: 11 })

describe('a batch that multiplies', () => {
  it.each(codecs)('is refused when its content exceeds the limit, compressed with %s', async (codec) => {
    const bomb = storedBatch([{ key: null, value: Buffer.alloc(64 * MIB), headers: [] }], {
      offset: 10,
      codec,
    })
    let result: Awaited<ReturnType<typeof read>> | undefined
    const allocated = await allocatedBy(async () => {
      result = await read(Buffer.concat([bomb, good]))
    })
    expect(result?.unreadable).toMatchObject([
      { from: 10, to: 10, sizeBytes: bomb.length, error: { name: 'TooLargeError' } },
    ])
    expect(result?.records.map(({ value }) => value?.toString())).toEqual(['good'])
    expect(allocated).toBeLessThan(16 * MIB)
  })

  it('is refused before decompression when it declares too many records', async () => {
    const many = Array.from({ length: 1001 }, () => ({ key: null, value: null, headers: [] }))
    const { unreadable } = await read(storedBatch(many, { offset: 10 }))
    expect(unreadable).toMatchObject([{ from: 10, to: 1010, error: { name: 'TooLargeError' } }])
    expect(unreadable[0]?.error.message).toBe('the batch declares 1001 records, more than 1000')
  })

  it('is refused when it declares more records than its bytes can hold', async () => {
    const batch = batchAround(zstdCompressSync(Buffer.alloc(MIB)), { offset: 10, codec: 4, count: 1000 })
    const small = batchAround(Buffer.alloc(70), { offset: 10, codec: 0, count: 11 })
    expect((await read(batch)).unreadable).toHaveLength(1)
    expect((await read(small)).unreadable[0]?.error.message).toBe('the batch declares 11 records in 70 bytes')
  })

  it('allocates nothing for a Snappy header that declares 1 GiB', async () => {
    const header = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x04, 0x00, 0x61])
    const allocated = await allocatedBy(async () => {
      await expect(decompress(2, header, 2 * MIB)).rejects.toThrow('declares 1073741824 bytes')
      await expect(decompress(2, header, 2 ** 31)).rejects.toThrow('which it cannot hold')
    })
    expect(allocated).toBeLessThan(MIB)
  })
})

it('decodes many records in slices, between which the event loop runs', async () => {
  const batch = storedBatch(
    Array.from({ length: 1000 }, (_, index) => ({
      key: 'k',
      value: String(index),
      headers: [['a', 'b']] as const,
    })),
    { codec: 'lz4' },
  )
  // The check of each batch takes 3 ms on this clock.
  const clock = new SteppedClock()
  const crc32c: typeof library.crc32c = (...data) => {
    clock.advance(3)
    return library.crc32c(...data)
  }
  const turns: number[] = []
  let isDone = false
  const turn = () => {
    turns.push(clock.nowMs)
    if (!isDone) setImmediate(turn)
  }
  setImmediate(turn)
  const bytes = Buffer.concat(
    Array.from({ length: 200 }, (_, index) => {
      const copy = Buffer.from(batch)
      copy.writeBigInt64BE(BigInt(index * 1000), 0)
      return copy
    }),
  )
  const { records } = await read(bytes, 0, crc32c)
  isDone = true
  expect(records).toHaveLength(200_000)
  const slices = turns.slice(1).map((at, index) => at - (turns[index] ?? at))
  expect(Math.max(...slices)).toBeLessThanOrEqual(15)
})

describe('decompression', () => {
  const texts = [
    '',
    'a',
    'abc'.repeat(9),
    'x'.repeat(70_000),
    Array.from({ length: 20_000 }, (_, index) => `${index * 7919}`).join(),
    `{"a":${JSON.stringify('é🎈'.repeat(900))}}`.repeat(300),
  ]
  it.each(codecs)('returns what the client library compressed with %s', async (codec) => {
    const algorithm = library.compressionsAlgorithms[codec]
    if (algorithm === undefined) throw new Error(`there is no ${codec}`)
    for (const text of texts) {
      const bytes = Buffer.from(text)
      const back = await decompress(algorithm.bitmask, algorithm.compressSync(bytes), 8 * MIB)
      expect(back.equals(bytes)).toBe(true)
    }
  })

  it('accepts content of exactly the limit', async () => {
    for (const codec of codecs) {
      const algorithm = library.compressionsAlgorithms[codec]
      if (algorithm === undefined) throw new Error(`there is no ${codec}`)
      const packed = algorithm.compressSync(Buffer.alloc(3 * MIB, 'abcdefg'))
      expect((await decompress(algorithm.bitmask, packed, 3 * MIB)).length).toBe(3 * MIB)
      await expect(async () => decompress(algorithm.bitmask, packed, 3 * MIB - 1)).rejects.toThrow('bytes')
    }
  })

  it('reads the chunks in which Java clients frame Snappy', async () => {
    const snappy = library.compressionsAlgorithms['snappy']
    if (snappy === undefined) throw new Error('there is no snappy')
    const chunks = ['first ', 'second '.repeat(99)].map((text) => {
      const chunk = snappy.compressSync(Buffer.from(text))
      const length = Buffer.alloc(4)
      length.writeUInt32BE(chunk.length)
      return Buffer.concat([length, chunk])
    })
    const header = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])
    const text = await decompress(2, Buffer.concat([header, ...chunks]), MIB)
    expect(text.toString()).toBe(`first ${'second '.repeat(99)}`)
  })
})
