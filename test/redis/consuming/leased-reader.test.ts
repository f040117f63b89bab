import { expect, it } from 'vitest'
import type { RedisClient } from '../../../src/redis/client/client.ts'
import type { ConsumedStream } from '../../../src/redis/client/consumed-stream.ts'
import { FinishedEntries } from '../../../src/redis/consuming/finished-entries.ts'
import type { ReadPage } from '../../../src/redis/consuming/group.ts'
import { LeasedReader } from '../../../src/redis/consuming/leased-reader.ts'
import { resolveRedisOptions } from '../../../src/redis/options.ts'
import { connectClient, freshPrefix } from '../scene.ts'

const GROUP = 'default'
const OWN = 'me#1'
const PARTITIONS = 2

/** A reader of the partitions 0 and 1, which it owns, and another client. */
async function scene(batchSize = 10) {
  const options = resolveRedisOptions({
    ...{ streamPrefix: freshPrefix(), partitions: PARTITIONS, ordering: 'aggregate' },
    ...{ consumerGroup: GROUP, consumerName: 'me', blockMs: 20, batchSize },
  })
  const leases = options.keys.leases(GROUP)
  const own = await connectClient()
  const other = await connectClient()
  const streams = options.keys.streams.map(
    (key, partition): ConsumedStream => ({
      ...{ key, partition, deletesSettled: false, isOnly: false },
      lease: { fence: OWN, state: 'held' },
    }),
  )
  for (const { key, partition } of streams) {
    await other.xGroupCreate(key, GROUP, '0', { MKSTREAM: true })
    await other.hSet(leases, String(partition), OWN)
  }
  const reader = new LeasedReader(options, new FinishedEntries(), () => streams)
  const add = async (partition: number, ...names: readonly string[]) => {
    for (const name of names) await other.xAdd(options.keys.streams[partition] ?? '', '*', { name })
  }
  const read = async (room = 100) => {
    // The reader uses this part of the client.
    const pages = await reader.read(own as unknown as RedisClient, room)
    return pages.flatMap(namesOf)
  }
  const pending = async (partition: number) =>
    (await other.xPending(options.keys.streams[partition] ?? '', GROUP)).pending
  const take = (partition: number) => other.hSet(leases, String(partition), 'other#1')
  return { options, streams, own, other, reader, add, read, pending, take, leases }
}

function namesOf({ stream, entries }: ReadPage): readonly string[] {
  return entries.map(({ fields }) => `${stream.partition} ${fields[1]}`)
}

it('reads each entry of its partitions once, in the order of each', async () => {
  const { add, read } = await scene(3)
  await add(0, 'a', 'b', 'c', 'd')
  await add(1, 'e')

  const all: string[] = []
  while (all.length < 5) {
    const some = await read()
    expect(some.length).toBeLessThanOrEqual(3)
    all.push(...some)
  }
  expect(all.filter((name) => name.startsWith('0'))).toEqual(['0 a', '0 b', '0 c', '0 d'])
  expect(all.filter((name) => name.startsWith('1'))).toEqual(['1 e'])
})

it('gets no entry of a partition that another consumer took after the last comparison', async () => {
  const { add, read, take, pending } = await scene()
  await add(0, 'a')
  expect(await read()).toEqual(['0 a'])

  await take(0)
  await add(0, 'b')
  await add(1, 'c')
  expect(await read()).toEqual(['1 c'])
  expect(await pending(0)).toBe(1)
})

it('gets no entry of a partition that was taken while it waited', async () => {
  const { add, read, take, pending } = await scene()
  expect(await read()).toEqual([])
  const reading = read()
  await take(0)
  await add(0, 'a')

  expect(await reading).toEqual([])
  expect(await pending(0)).toBe(0)
})

it('reads a partition that it got back under another lease', async () => {
  const { add, read, take, other, streams, leases } = await scene()
  await take(0)
  await add(0, 'a')
  expect(await read()).toEqual([])

  await other.hSet(leases, '0', 'me#2')
  const [first] = streams
  if (first !== undefined) first.lease = { fence: 'me#2', state: 'held' }
  expect(await read()).toEqual(['0 a'])
})

it('waits while it owns no partition, instead of asking again and again', async () => {
  const { add, reader, own, take } = await scene()
  await take(0)
  await take(1)
  await add(0, 'a')
  const sent: string[] = []
  const client = {
    sendCommand: (args: string[]) => {
      sent.push(args[0] ?? '')
      return own.sendCommand(args)
    },
  }

  // The reader uses this part of the client.
  const reading = reader.read(client as unknown as RedisClient, 10)
  await expect.poll(() => sent).toEqual(['WATCH', 'HGETALL'])
  reader.changed()
  expect(await reading).toEqual([])
  expect(sent).toEqual(['WATCH', 'HGETALL'])
})

it('compares the leases again on a new connection', async () => {
  const { add, reader, read, take } = await scene()
  await add(0, 'a')
  expect(await read()).toEqual(['0 a'])
  await take(0)
  await add(0, 'b')
  const next = await connectClient()

  expect(await reader.read(next as unknown as RedisClient, 10)).toEqual([])
})

it('delivers the entries of a transaction in which another read failed, and throws the failure with the next read', async () => {
  const { add, read, other, streams } = await scene()
  // The second partition has nothing more: from now on, it is read by a command of its own.
  await add(0, ...Array.from({ length: 30 }, (_, index) => `${index}`))
  expect(await read()).not.toHaveLength(0)
  await other.xGroupDestroy(streams[1]?.key ?? '', GROUP)

  expect(await read()).not.toHaveLength(0)
  await expect(read()).rejects.toThrow('NOGROUP')
})
