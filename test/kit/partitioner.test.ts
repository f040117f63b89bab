import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { murmur2, partitionOf } from '../../src/kit/partitioner.ts'

// From UtilsTest.testMurmur2 of Apache Kafka.
it.each([
  ['21', -973_932_308],
  ['foobar', -790_332_482],
  ['a-little-bit-long-string', -985_981_536],
  ['a-little-bit-longer-string', -1_486_304_829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58_897_971],
  ['abc', 479_470_107],
])('hashes %s as the Java client does', (text, hash) => {
  expect(murmur2(Buffer.from(text))).toBe(hash)
})

interface CapturedPlaces {
  readonly about: { readonly partitions: Readonly<Record<string, number>> }
  readonly cases: readonly {
    readonly raw: { readonly topic: string; readonly key: string; readonly partition: number }
  }[]
}

it('chooses the same partition for every key as eventsource-py', () => {
  const text = readFileSync(new URL('../wire/kafka.json', import.meta.url), 'utf8')
  // The file is part of the repository; its README describes the content.
  const { about, cases } = JSON.parse(text) as CapturedPlaces
  expect(cases.length).toBeGreaterThan(20)
  for (const { raw } of cases) {
    const partitions = about.partitions[raw.topic] ?? 0
    expect(partitionOf(Buffer.from(raw.key), partitions), raw.key).toBe(raw.partition)
  }
})

it('chooses for any key an existing partition, and always the same one', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.integer({ min: 1, max: 1000 }), (key, partitions) => {
      const partition = partitionOf(key, partitions)
      expect(partition).toBeGreaterThanOrEqual(0)
      expect(partition).toBeLessThan(partitions)
      expect(partitionOf(Buffer.from(key), partitions)).toBe(partition)
    }),
  )
})
