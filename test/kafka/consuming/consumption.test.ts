import { expect, inject, it } from 'vitest'
import { OrderCreated, OrderShipped, orderCreated, orderShipped } from '../../support/order-events.ts'
import { administer } from '../plain-kafka.ts'
import { itWithEach, protocols } from '../protocols.ts'
import {
  committedOf,
  consume,
  createBus,
  freshName,
  noticesOf,
  recorder,
  startProxy,
  until,
} from '../scene.ts'

const admin = <T>(work: Parameters<typeof administer<T>>[1]) =>
  administer(inject('kafkaBootstrapServers'), work)

const orders = (count: number, aggregates = 10) =>
  Array.from({ length: count }, (_, n) => orderCreated(`Order-${n % aggregates}`))

/** The sum of a group's committed offsets, which is the number of records that it has finished. */
async function finishedBy(topic: string, group: string): Promise<number> {
  const committed = await committedOf(topic, group)
  return [...committed.values()].reduce((sum, { offset }) => sum + offset, 0)
}

it('commits in the background within commitIntervalMs, and at once when it stops', async () => {
  const options = { topicPrefix: freshName() }
  const topic = `${options.topicPrefix}.stream`
  const bus = createBus({ ...options, commitIntervalMs: 300 })
  const seen = recorder(bus)
  await consume(bus)

  await bus.publish(orders(100))
  await until('the events', () => seen.length === 100)
  await until('the commit', async () => (await finishedBy(topic, options.topicPrefix)) === 100, 3000)
  const slowGroup = freshName()
  const slow = createBus({ ...options, consumerGroup: slowGroup, commitIntervalMs: 60_000 })
  const seenSlow = recorder(slow)
  await consume(slow)
  await until('the events of the slow one', () => seenSlow.length === 100)
  await slow.stopConsuming()

  expect(await finishedBy(topic, slowGroup)).toBe(100)
})

it('commits at commitCount without waiting for commitIntervalMs', async () => {
  const topicPrefix = freshName()
  const bus = createBus({ topicPrefix, topicPartitions: 1, commitCount: 10, commitIntervalMs: 60_000 })
  recorder(bus)
  await consume(bus)

  await bus.publish(orders(10))

  await until('the commit', async () => (await finishedBy(`${topicPrefix}.stream`, topicPrefix)) === 10)
})

it('commits up to the first unfinished event, and notes which later ones are finished', async () => {
  const options = { topicPrefix: freshName(), topicPartitions: 1, commitIntervalMs: 20 }
  const topic = `${options.topicPrefix}.stream`
  const stuck = Promise.withResolvers<void>()
  const first = createBus({ ...options, shutdownTimeoutMs: 500 })
  const handled: string[] = []
  first.subscribe(OrderCreated, async ({ aggregateId }) => {
    if (aggregateId === 'Order-3') await stuck.promise
    handled.push(aggregateId)
  })
  await consume(first)

  await first.publish(orders(10))
  await until('the others', () => handled.length === 9)
  await until('the note of what is finished beyond', async () => {
    const { offset, metadata } = (await committedOf(topic, options.topicPrefix)).get(0) ?? {}
    return offset === 3 && metadata?.includes('"d":') === true
  })
  await first.shutdown({ timeoutMs: 300 })
  const second = createBus(options)
  const seen = recorder(second)
  await consume(second)
  const mark = orderShipped('Order-9')
  await second.publish([mark])
  await until('the mark', () => seen.some(({ eventId }) => eventId === mark.eventId))

  expect(seen.map(({ aggregateId }) => aggregateId).toSorted()).toEqual(['Order-3', 'Order-9'])
  stuck.resolve()
})

it('pauses only the partition of a stuck aggregate when partitionWindow is full', async () => {
  const bus = createBus({ topicPartitions: 3, partitionWindow: 20, maxInFlight: 3000 })
  const stuck = Promise.withResolvers<void>()
  const handled: string[] = []
  bus.subscribe(OrderCreated, async ({ aggregateId }) => {
    if (aggregateId === 'Stuck') await stuck.promise
    handled.push(aggregateId)
  })
  await consume(bus)
  await bus.publish([orderCreated('Stuck')])
  const events = Array.from({ length: 600 }, (_, n) => orderCreated(`Order-${n}`))

  await bus.publish(events)

  // About a third of them are in the partition of the stuck aggregate.
  await until(
    () => `two thirds, saw ${handled.length}`,
    () => handled.length > 380,
  )
  const beyond = events.length - handled.length
  expect(beyond).toBeGreaterThan(100)
  stuck.resolve()
  await until(
    () => `all, saw ${handled.length}`,
    () => handled.length === 601,
  )
})

it.each(['earliest', 'latest'] as const)(
  'starts at the %s record if the group is new',
  async (autoOffsetReset) => {
    const topicPrefix = freshName()
    const publisher = createBus({ topicPrefix })
    await publisher.publish(orders(10))
    const bus = createBus({ topicPrefix, autoOffsetReset })
    const seen = recorder(bus)
    await consume(bus)

    const mark = orderShipped('Order-1')
    await publisher.publish([mark])
    await until('the mark', () => seen.some(({ eventId }) => eventId === mark.eventId))
    await until('what came before it', () => seen.length >= (autoOffsetReset === 'earliest' ? 11 : 1))

    expect(seen).toHaveLength(autoOffsetReset === 'earliest' ? 11 : 1)
  },
)

it('starts a new group at startFrom regardless of autoOffsetReset, and an existing one at its offset', async () => {
  const topicPrefix = freshName()
  const publisher = createBus({ topicPrefix })
  await publisher.publish(orders(10))
  const options = { topicPrefix, startFrom: 'latest', autoOffsetReset: 'earliest' } as const
  const bus = createBus(options)
  const seen = recorder(bus)
  await consume(bus)
  await publisher.publish(orders(5))
  await until('the events since the start', () => seen.length >= 5)
  await bus.shutdown()
  await publisher.publish(orders(3))

  const successor = createBus(options)
  const seenNext = recorder(successor)
  await consume(successor)

  await until('the events since the stop', () => seenNext.length >= 3)
  expect([seen.length, seenNext.length]).toEqual([5, 3])
})

it('starts at the latest record in every member of a new group, whichever commits first', async () => {
  const options = {
    topicPrefix: freshName(),
    consumerGroup: freshName(),
    topicPartitions: 6,
    autoOffsetReset: 'latest',
    partitionAssignor: 'roundrobin',
  } as const
  const publisher = createBus(options)
  await publisher.publish(orders(200, 100))
  const members = Array.from({ length: 3 }, () => createBus(options))
  const seen = members.map(recorder)
  await Promise.all(members.map(consume))
  const marks = Array.from({ length: 60 }, (_, n) => orderShipped(`Order-${n}`))
  await publisher.publish(marks)

  await until('the marks', () => seen.flat().length >= marks.length)
  expect(new Set(seen.flat().map(({ eventType }) => eventType))).toEqual(new Set(['OrderShipped']))
  expect(seen.flat()).toHaveLength(marks.length)
})

it('resumes a group that started at the latest record at its last offset, even after a long time', async () => {
  const options = { topicPrefix: freshName(), autoOffsetReset: 'latest' } as const
  const first = createBus(options)
  recorder(first)
  await consume(first)
  await first.shutdown()
  const publisher = createBus(options)
  await publisher.publish(orders(10))
  const second = createBus(options)
  const seen = recorder(second)

  await consume(second)

  await until(
    () => `10 events, saw ${seen.length}`,
    () => seen.length === 10,
  )
})

itWithEach(
  protocols,
  'reads partitions that are added while it consumes from their first record (%s)',
  async ({ groupProtocol }) => {
    const options = { topicPrefix: freshName(), topicPartitions: 1, metadataMaxAgeMs: 300 }
    const bus = createBus({ ...options, groupProtocol, autoOffsetReset: 'latest' })
    const seen = recorder(bus)
    const notices = noticesOf(bus)
    await consume(bus)
    await bus.publish(orders(10))
    await until('the first', () => seen.length === 10)

    await admin((it) =>
      it.createPartitions({
        topics: [{ name: `${options.topicPrefix}.stream`, count: 4, assignments: null }],
      }),
    )
    const publisher = createBus(options)
    await until('the new partitions', async () => (await publisher.getTopicInfo()).partitions === 4)
    await publisher.publish(Array.from({ length: 40 }, (_, n) => orderCreated(`New-${n}`)))

    await until(
      () => `50 events, saw ${seen.length}`,
      () => seen.length === 50,
    )
    expect(bus.getStats().rebalanceCount).toBeGreaterThanOrEqual(2)
    // With groupProtocol 'consumer' the broker may assign them before the consumer reads the topic.
    await until('the notice', () => notices.some(({ type }) => type === 'partitionsAdded'))
    expect(notices.filter(({ type }) => type === 'partitionsAdded')).toEqual([
      { type: 'partitionsAdded', detail: expect.stringContaining('4 partitions instead of 1') },
    ])
  },
)

it('reports the lost events if its offset is no longer in the log, and continues with the rest', async () => {
  const options = { topicPrefix: freshName(), topicPartitions: 1 }
  const topic = `${options.topicPrefix}.stream`
  const first = createBus(options)
  const seen = recorder(first)
  await consume(first)
  await first.publish(orders(5))
  await until('the first', () => seen.length === 5)
  await first.stopConsuming()
  await first.publish(orders(10))
  await admin((it) =>
    it.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: 12n }] }] }),
  )
  const notices = noticesOf(first)

  await consume(first)

  await until(
    () => `the 3 that are left, saw ${seen.length}`,
    () => seen.length === 8,
  )
  const lost = notices.filter(({ type }) => type === 'eventsLost')
  expect(lost).toMatchObject([{ count: 7 }])
  expect(JSON.stringify(lost)).toContain('offset 5 is not in the log')
})

itWithEach(
  protocols,
  'reports in each member the events lost with a deleted topic, and continues with the new one (%s)',
  async ({ groupProtocol }) => {
    const options = { topicPrefix: freshName(), groupProtocol, topicPartitions: 2 }
    const members = [createBus(options), createBus(options)]
    const seen = members.map(recorder)
    const notices = members.map(noticesOf)
    await Promise.all(members.map(consume))
    const publisher = createBus(options)
    await until('both to work', async () => {
      await publisher.publish(orders(10))
      return seen.every((events) => events.length > 0)
    })

    await admin((it) => it.deleteTopics({ topics: [`${options.topicPrefix}.stream`] }))

    await until('both to tell', () => notices.every((list) => list.some(({ type }) => type === 'eventsLost')))
    expect(notices.flat().some(({ type }) => type === 'topologyRestored')).toBe(true)
    const mark = orderShipped()
    await publisher.publish([mark])
    await until('an event of the new topic', () =>
      seen.flat().some(({ eventId }) => eventId === mark.eventId),
    )
  },
)

itWithEach(
  protocols,
  'skips no event of a topic that replaces a deleted one while a consumer stops (%s)',
  async ({ groupProtocol }) => {
    const options = { topicPrefix: freshName(), topicPartitions: 1, groupProtocol, createTopics: false }
    const topic = `${options.topicPrefix}.stream`
    const create = () => admin((it) => it.createTopics({ topics: [topic], partitions: 1, replicas: 1 }))
    await create()
    const publisher = createBus(options)
    const first = createBus({ ...options, commitIntervalMs: 60_000, metadataMaxAgeMs: 60_000 })
    const seen = recorder(first)
    await consume(first)
    await publisher.publish(orders(10))
    await until('the first events', () => seen.length === 10)

    await admin((it) => it.deleteTopics({ topics: [topic] }))
    const stopping = first.shutdown({ timeoutMs: 10_000 })
    await create()
    await until('a publish to the new topic', () => publisher.publish(orders(20)).then(() => true))
    await stopping
    const second = createBus(options)
    const seenAgain = recorder(second)
    await consume(second)

    await until(
      () => `the 20 events of the new topic, saw ${seenAgain.length}`,
      () => seenAgain.length === 20,
    )
  },
)

it('fetches records again that were damaged in transit', async () => {
  const proxy = await startProxy()
  const options = { topicPrefix: freshName(), compressionType: 'none' } as const
  const bus = createBus({ ...options, bootstrapServers: `127.0.0.1:${proxy.port}` })
  const seen = recorder(bus)
  const notices = noticesOf(bus)
  await consume(bus)
  const publisher = createBus(options)
  const event = new OrderCreated({ aggregateId: 'Order-1', customerId: 'to-be-damaged' })

  proxy.damage('to-be-damaged')
  await publisher.publish([event])

  await until('the event', () => seen.length === 1)
  expect(JSON.stringify(seen[0])).toContain('"customerId":"to-be-damaged"')
  expect(notices).toEqual([])
})

it('uses the offsets that an administrator set while the group was away', async () => {
  const options = { topicPrefix: freshName(), topicPartitions: 1, consumerGroup: freshName() }
  const bus = createBus(options)
  const seen = recorder(bus)
  await consume(bus)
  await bus.publish(orders(10))
  await until('the events', () => seen.length === 10)
  await bus.stopConsuming()
  await admin((it) =>
    it.alterConsumerGroupOffsets({
      groupId: options.consumerGroup,
      topics: [{ name: `${options.topicPrefix}.stream`, partitionOffsets: [{ partition: 0, offset: 4n }] }],
    }),
  )

  await consume(bus)

  await until(
    () => `6 events again, saw ${seen.length}`,
    () => seen.length === 16,
  )
})

it('loses nothing when it stops and starts in one process at any moment', async () => {
  const bus = createBus({ topicPartitions: 6 })
  const seen = new Set<string>()
  bus.subscribe(OrderCreated, ({ eventId }) => {
    seen.add(eventId)
  })
  const events = orders(3000, 50)
  const publishing = (async () => {
    for (let from = 0; from < events.length; from += 50) await bus.publish(events.slice(from, from + 50))
  })()

  for (let round = 1; round <= 6; round += 1) {
    await consume(bus)
    await until('some', () => seen.size >= Math.min(events.length, round * 400))
    await bus.stopConsuming()
  }
  await publishing
  await consume(bus)

  await until(
    () => `3000 events, saw ${seen.size}`,
    () => seen.size === events.length,
  )
})

it('keeps the partitions of a static member that restarts within its session, without a rebalance', async () => {
  const options = {
    topicPrefix: freshName(),
    consumerGroup: freshName(),
    topicPartitions: 4,
    sessionTimeoutMs: 10_000,
  }
  const create = (groupInstanceId: string) => createBus({ ...options, groupInstanceId })
  const [one, two] = [create('one'), create('two')]
  const [seenOne, seenTwo] = [recorder(one), recorder(two)]
  await consume(one)
  await consume(two)
  await until('both to work', async () => {
    await one.publish(orders(8, 8))
    return seenOne.length > 0 && seenTwo.length > 0
  })
  await until('the group to be quiet', () => one.getStats().rebalanceCount >= 2)
  const before = one.getStats().rebalanceCount

  await two.shutdown()
  const again = create('two')
  const seenAgain = recorder(again)
  await consume(again)
  await until('the restarted one to work', async () => {
    await one.publish(orders(8, 8))
    return seenAgain.length > 0
  })

  expect(one.getStats().rebalanceCount).toBe(before)
})

it('skips the events that other services publish to the topic', async () => {
  const topicPrefix = freshName()
  const [orderBus, shippingBus] = [
    createBus({ topicPrefix, consumerGroup: `${topicPrefix}-orders` }),
    createBus({ topicPrefix, consumerGroup: `${topicPrefix}-shipping` }),
  ]
  const seen: string[] = []
  orderBus.subscribe(OrderCreated, ({ eventType }) => void seen.push(eventType))
  shippingBus.subscribe(OrderShipped, ({ eventType }) => void seen.push(eventType))
  await Promise.all([consume(orderBus), consume(shippingBus)])

  await orderBus.publish([orderCreated(), orderShipped()])

  await until('both', () => seen.length === 2)
  await until(
    'the skips',
    () => orderBus.getStats().eventsSkipped + shippingBus.getStats().eventsSkipped === 2,
  )
  expect(await orderBus.getDlqMessageCount()).toBe(0)
})

it('counts the same as eventsource-py, with times', async () => {
  const bus = createBus()
  const stats = bus.getStats()
  expect(stats).toMatchObject({
    lastPublishAt: null,
    lastConsumeAt: null,
    lastErrorAt: null,
    connectedAt: null,
  })
  const seen = recorder(bus)
  await consume(bus)

  await bus.publish(orders(3))
  await until('the events', () => seen.length === 3)
  await until('the counts', () => bus.getStats().eventsProcessedSuccess === 3)

  expect(bus.getStats()).toMatchObject({
    eventsPublished: 3,
    eventsConsumed: 3,
    eventsProcessedSuccess: 3,
    eventsProcessedFailed: 0,
    messagesSentToDlq: 0,
    handlerErrors: 0,
    reconnections: 0,
    rebalanceCount: 1,
    lastPublishAt: expect.any(Date),
    lastConsumeAt: expect.any(Date),
    lastErrorAt: null,
    connectedAt: expect.any(Date),
  })
})
