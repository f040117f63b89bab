import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { launchCluster, prefixAt } from './cluster.ts'
import { type HandledNote, inversions } from './partitions.ts'
import { consume, createBus, failure, freshPrefix, Noted } from './scene.ts'

const AGGREGATES = 20

it('finds the node of its keys in a Redis Cluster, follows failovers, and keeps the order', async () => {
  const { primaries, replica } = await launchCluster()
  const [owner, seed] = primaries
  if (owner === undefined || seed === undefined) throw new Error('expected three primaries')
  const streamPrefix = await prefixAt(owner, 0, freshPrefix)
  // A node without the keys answers with MOVED.
  const options = {
    redisUrl: seed.url,
    streamPrefix,
    partitions: 4,
    pendingIdleMs: 20_000,
    publishTimeoutMs: 30_000,
  }
  const handled: HandledNote[] = []
  const workers = await Promise.all(
    ['w0', 'w1'].map((consumerName) => {
      const bus = createBus({ ...options, consumerName })
      bus.subscribe(Noted, async ({ aggregateId, n }) => {
        handled.push({ consumer: consumerName, aggregateId, n })
        await delay(1)
      })
      return consume(bus)
    }),
  )
  const publisher = createBus(options)
  let turn = 0
  const publish = async (turns: number) => {
    for (const last = turn + turns; turn < last; turn += 1) {
      await publisher.publish(
        Array.from({ length: AGGREGATES }, (_, index) => new Noted({ aggregateId: `a${index}`, n: turn })),
      )
    }
  }
  const distinct = () => new Set(handled.map(({ aggregateId, n }) => `${aggregateId} ${n}`)).size
  const handledAll = () =>
    waitFor(() => distinct() === turn * AGGREGATES, {
      timeoutMs: 20_000,
      describe: () => `${distinct()} of ${turn * AGGREGATES} events`,
    })
  await publish(10)
  await handledAll()

  await replica.admin.sendCommand(['CLUSTER', 'FAILOVER'])
  await publish(10)
  await handledAll()
  expect(String(await replica.admin.sendCommand(['INFO', 'replication']))).toContain('role:master')

  // The new owner dies for good, and the old one takes over again.
  await waitFor(async () =>
    String(await owner.admin.sendCommand(['INFO', 'replication'])).includes('master_link_status:up'),
  )
  await replica.broker.kill()
  await publish(10)
  await handledAll()

  expect(inversions(handled)).toEqual([])
  expect(new Set(handled.map(({ consumer }) => consumer)).size).toBe(2)
  expect((await workers[0]?.getStreamInfo())?.stream.length).toBe(turn * AGGREGATES)
  const scattered = createBus({ redisUrl: seed.url, streamPrefix: freshPrefix() })
  scattered.subscribe(Noted, () => undefined)
  expect(String(await failure(scattered.startConsuming()))).toMatch(/is a Redis Cluster.*Set useHashTag/)
})
