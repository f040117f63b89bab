import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadKafka } from '../../../src/kafka/client/client.ts'
import { type RecordToWrite, sizeOfRecord } from '../../../src/kafka/wire/record-batch.ts'
import {
  type AbortedTransaction,
  type ReadRecords,
  readBatches,
} from '../../../src/kafka/wire/record-reader.ts'
import { BATCH_TIME, signedBatch, storedBatch } from './batches.ts'

const library = await loadKafka()
const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
const TIME = BATCH_TIME

const TRANSACTIONAL = 0b1_0000
const CONTROL = 0b10_0000
const APPEND_TIME = 0b1000

const stored = storedBatch
const signed = signedBatch
const END = 2 ** 50
const LIMITS = { maxBatchBytes: 33_554_432, maxBatchRecords: 100_000 }

function read(
  bytes: Buffer,
  from = 0,
  aborted: readonly AbortedTransaction[] = [],
  limits = LIMITS,
): Promise<ReadRecords> {
  return readBatches(bytes, from, {
    end: END,
    enoughBytes: Number.POSITIVE_INFINITY,
    crc32c: library.crc32c,
    limits,
    aborted,
  })
}

const plain = (value: string): RecordToWrite => ({ key: 'k', value, headers: [] })
const valuesOf = ({ records }: ReadRecords) => records.map(({ value }) => value?.toString())
const bytesOf = (bytes: string | Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes))

const anyText = fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed())
const anyBytes: fc.Arbitrary<string | Uint8Array> = fc.oneof(anyText, fc.uint8Array({ maxLength: 300 }))
const anyHeader: fc.Arbitrary<RecordToWrite['headers'][number]> = fc.tuple(
  anyBytes,
  fc.oneof(anyBytes, fc.constant(null)),
)
const anyRecord: fc.Arbitrary<RecordToWrite> = fc.record({
  key: fc.option(anyBytes),
  value: fc.option(fc.oneof(anyBytes, fc.constant('x'.repeat(9000)))),
  headers: fc.array(anyHeader, { maxLength: 5 }),
})
const someRecords = fc.array(anyRecord, { minLength: 1, maxLength: 80 })

/** The headers that are text, by a strict decoder. */
function textsOf(headers: readonly (readonly (Buffer | null)[])[]): object {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const texts = headers.flatMap((pair) => {
    try {
      return [pair.map((bytes) => (bytes === null ? undefined : decoder.decode(bytes)))]
    } catch {
      return []
    }
  })
  return Object.fromEntries(
    texts.filter(([name, text]) => name !== undefined && text !== undefined && name !== '__proto__'),
  )
}

describe('a record batch', () => {
  it.each(codecs)('is read back as written, compressed with %s', async (codec) => {
    await fc.assert(
      fc.asyncProperty(someRecords, fc.nat(2 ** 40), async (records, offset) => {
        const batch = stored(records, { offset, codec })
        const { records: back, nextOffset, unreadable } = await read(batch, offset)
        expect(unreadable).toEqual([])
        expect(nextOffset).toBe(offset + records.length)
        expect(
          back.map(({ offset: at, timestamp, key, value, headers, headerTexts }) => ({
            offset: at,
            timestamp,
            key,
            value,
            headers,
            headerTexts,
          })),
        ).toEqual(
          records.map(({ key, value, headers }, index) => ({
            offset: offset + index,
            timestamp: TIME,
            key: bytesOf(key),
            value: bytesOf(value),
            headers: headers.map(([name, text]) => [bytesOf(name), bytesOf(text)]),
            headerTexts: textsOf(headers.map(([name, text]) => [bytesOf(name), bytesOf(text)])),
          })),
        )
      }),
      { numRuns: 40 },
    )
  })

  it('has the type of the event in its last header of that name which is text', async () => {
    const typesOf = async (...headers: readonly (readonly [string, string | Buffer | null])[]) => {
      const { records } = await read(stored([{ key: 'k', value: '{}', headers }]), 0)
      return records.map(({ typeHeader, headerTexts }) => [typeHeader, headerTexts['event_type']])
    }

    expect(await typesOf(['event_type', 'A'], ['event_type', 'B'])).toEqual([['B', 'B']])
    expect(await typesOf(['event_type', 'A'], ['event_type', null])).toEqual([['A', 'A']])
    expect(await typesOf(['event_typo', 'A'])).toEqual([[undefined, undefined]])
    // The caller then reads all headers.
    const mixed = await typesOf(['event_type', 'A'], ['event_type', Buffer.of(0xff)])
    expect(mixed).toEqual([[undefined, 'A']])
  })

  it('is never larger than sizeOfRecord estimates', () => {
    fc.assert(
      fc.property(someRecords, (records) => {
        const limit = records.reduce((sum, record) => sum + sizeOfRecord(record), 61)
        expect(stored(records).length).toBeLessThanOrEqual(limit)
      }),
    )
  })

  it('holds thousands of records', async () => {
    const records = Array.from({ length: 20_000 }, (_, index) => plain(String(index)))
    const { records: back } = await read(stored(records, { codec: 'gzip', offset: 7 }), 7)
    expect(back.map(({ offset, value }) => offset - 7 - Number(value))).toEqual(Array(20_000).fill(0))
  })

  it("carries the producer's identity and sequence, and a Castagnoli checksum", () => {
    const batch = stored([plain('a'), plain('b')], { producerId: 77n })
    expect([batch.readBigInt64BE(43), batch.readInt16BE(51), batch.readInt32BE(53)]).toEqual([77n, 3, 9])
    expect([batch.readInt32BE(23), batch.readInt32BE(57)]).toEqual([1, 2])
    // The check value of CRC-32C: https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-32-iscsi
    expect(library.crc32c(Buffer.from('123456789')) >>> 0).toBe(0xe3069283)
  })

  it('has the same bytes as from other clients', () => {
    const { createRecordsBatch } = library
    if (typeof createRecordsBatch !== 'function') throw new Error('the client has no createRecordsBatch')
    const headers = new Map([['event_type', 'A'].map((text) => Buffer.from(text))].map(([a, b]) => [a, b]))
    const message = {
      topic: 't',
      key: Buffer.from('k'),
      value: Buffer.from('v'),
      headers,
      timestamp: BigInt(TIME),
    }
    const theirs: { readonly buffer: Buffer } = createRecordsBatch([message, message], { producerEpoch: -1 })
    const record = { key: 'k', value: 'v', headers: [['event_type', 'A']] as const }
    const ours = stored([record, record])
    // They write 0 for no leader epoch and no sequence. The library writes -1, which changes the checksum.
    const blank = (batch: Buffer) => {
      batch.fill(0, 12, 16)
      batch.fill(0, 53, 57)
      return signed(batch).toString('hex')
    }
    expect(blank(ours)).toBe(blank(Buffer.from(theirs.buffer)))
  })
})

describe('reading a range of a log', () => {
  const log = Buffer.concat([
    stored([plain('0'), plain('1'), plain('2')], { offset: 10 }),
    stored([plain('3'), plain('4')], { offset: 13, codec: 'lz4' }),
  ])

  it('can start in the middle of a batch', async () => {
    expect(valuesOf(await read(log, 12))).toEqual(['2', '3', '4'])
    expect(valuesOf(await read(log, 14))).toEqual(['4'])
    expect(await read(log, 15)).toEqual({
      records: [],
      nextOffset: 15,
      unreadable: [],
      impossible: 'it holds no record from offset 15 on',
      epochs: [],
      readBytes: log.length,
      contentBytes: 0,
    })
  })

  it('leaves a truncated batch for the next fetch, wherever it ends', async () => {
    const first = stored([plain('0'), plain('1'), plain('2')], { offset: 10 }).length
    for (let length = 0; length < log.length; length += 1) {
      const { records, nextOffset, unreadable } = await read(log.subarray(0, length), 10)
      expect(unreadable).toEqual([])
      expect([records.length, nextOffset]).toEqual(length < first ? [0, 10] : [3, 13])
    }
  })

  it('skips gaps that compaction left', async () => {
    const batch = stored([plain('a'), plain('b')], { offset: 20 })
    batch.writeInt32BE(9, 23)
    expect((await read(signed(batch), 10)).nextOffset).toBe(30)
  })

  it("uses the broker's timestamp if the topic is configured so", async () => {
    const batch = stored([plain('a')], { attributes: APPEND_TIME })
    batch.writeBigInt64BE(5000n, 35)
    expect((await read(signed(batch))).records[0]?.timestamp).toBe(5000)
  })

  it('leaves out aborted transactions and control records', async () => {
    const transaction = { producerId: 7n, attributes: TRANSACTIONAL }
    const marker = { producerId: 7n, attributes: TRANSACTIONAL | CONTROL }
    const bytes = Buffer.concat([
      stored([plain('committed')], { ...transaction, offset: 0 }),
      stored([plain('marker')], { ...marker, offset: 1 }),
      stored([plain('aborted'), plain('aborted')], { ...transaction, offset: 2 }),
      stored([plain('of another producer')], { ...transaction, producerId: 8n, offset: 4 }),
      stored([plain('in no transaction')], { producerId: 7n, offset: 5 }),
      stored([plain('marker')], { ...marker, offset: 6 }),
      stored([plain('after it')], { ...transaction, offset: 7 }),
      stored([plain('marker')], { ...marker, offset: 8 }),
      stored([plain('aborted')], { ...transaction, offset: 9 }),
      stored([plain('marker')], { ...marker, offset: 10 }),
    ])
    const aborted = [9n, 2n].map((firstOffset) => ({ producerId: 7n, firstOffset }))
    const all = await read(bytes, 0, aborted)
    expect(valuesOf(all)).toEqual(['committed', 'of another producer', 'in no transaction', 'after it'])
    expect(all.nextOffset).toBe(11)
    expect(valuesOf(await read(bytes, 3, aborted))).toEqual([
      'of another producer',
      'in no transaction',
      'after it',
    ])
  })
})

describe('what cannot be read', () => {
  const good = stored([plain('good')], { offset: 12 })
  const between = (bad: Buffer) => read(Buffer.concat([bad, good]), 10)

  it.each([
    ['a checksum that is wrong', 'the checksum is wrong', (batch: Buffer) => flip(batch, 70)],
    ['an unknown compression', 'unknown compression 5', (batch: Buffer) => signed(flip(batch, 22, 5))],
    ['an old format', 'record format 1 is not supported', (batch: Buffer) => flip(batch, 16, 3)],
    [
      'a length inside that is too long',
      'a record is truncated',
      (batch: Buffer) => signed(flip(batch, 61, 0x40)),
    ],
    ['a negative length inside', 'a record is truncated', (batch: Buffer) => signed(flip(batch, 61, 1))],
    [
      'more records than there are',
      'the batch declares 6 records in 18 bytes',
      (batch: Buffer) => signed(flip(batch, 60, 4)),
    ],
    ['a last offset that is far away', 'the checksum is wrong', (batch: Buffer) => flip(batch, 23, 0x40)],
    ['a last offset before the first', 'the checksum is wrong', (batch: Buffer) => flip(batch, 23, 0x80)],
  ])(
    'is %s; it is reported and skipped, and the following records are read',
    async (_what, message, spoil) => {
      const result = await between(spoil(stored([plain('a'), plain('b')], { offset: 10 })))
      expect(result.unreadable.map(({ error }) => error.message)).toEqual([message])
      expect(result.unreadable[0]).toMatchObject({ from: 10, to: 11 })
      expect(valuesOf(result)).toEqual(['good'])
      expect(result.nextOffset).toBe(13)
    },
  )

  it('is skipped offset by offset if no valid batch follows', async () => {
    const bad = flip(stored([plain('a'), plain('b')], { offset: 10 }), 70)
    expect(await read(bad, 10)).toMatchObject({ nextOffset: 11, unreadable: [{ from: 10, to: 10 }] })
    expect(await read(bad, 11)).toMatchObject({ nextOffset: 12, unreadable: [{ from: 11, to: 11 }] })
  })

  it('includes a compressed batch with damaged content', async () => {
    const result = await between(
      signed(flip(stored([plain('a'), plain('b')], { offset: 10, codec: 'gzip' }), 75)),
    )
    expect(result.unreadable).toMatchObject([{ from: 10, to: 11 }])
    expect(valuesOf(result)).toEqual(['good'])
  })

  it.each([-1, -12, -100, 0, 4])(
    'includes a batch whose length field is %i, and offsets are skipped one by one',
    async (length) => {
      const batch = stored([plain('a')], { offset: 10 })
      batch.writeInt32BE(length, 8)
      const { records, nextOffset, unreadable } = await read(batch, 10)
      expect(records).toEqual([])
      expect(unreadable).toMatchObject([{ from: 10, to: 10 }])
      expect(nextOffset).toBe(11)
    },
  )

  it('never makes reading fail, hang or go backwards', async () => {
    const batch = stored([plain('a'), plain('b'), plain('c')], { offset: 10, codec: 'none' })
    const flips = fc.array(fc.tuple(fc.nat(batch.length - 1), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
    })
    await fc.assert(
      fc.asyncProperty(flips, fc.boolean(), async (changes, isSigned) => {
        const bad = Buffer.from(batch)
        for (const [at, bits] of changes) flip(bad, at, bits)
        const result = await read(Buffer.concat([isSigned ? signed(bad) : bad, good]), 10)
        expect(result.nextOffset).toBeGreaterThanOrEqual(10)
        if (!isSigned && changes.every(([at]) => at >= 8)) expect(result.nextOffset).toBeLessThanOrEqual(13)
        for (const { offset } of result.records) expect(offset).toBeGreaterThanOrEqual(10)
      }),
      { numRuns: 500 },
    )
  })
})

function flip(batch: Buffer, at: number, bits = 1): Buffer {
  batch[at] = (batch[at] ?? 0) ^ bits
  return batch
}
