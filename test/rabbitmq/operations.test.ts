import { inspect } from 'node:util'
import { afterAll, expect, it } from 'vitest'
import { type Finding, PublishError } from '../../src/index.ts'
import { launchBroker } from '../brokers/launch-broker.ts'
import { wordsOf } from '../cli/words.ts'
import { shell } from '../redis/shell.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { paced } from '../support/pace.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { consume, createBus, freshName, noticesOf, plainChannel, recorder, until } from './scene.ts'

// Actions of an operator with the broker's own tool, and the reports of the bus.
const broker = await launchBroker('rabbitmq', { plugins: [] })
const rabbitmqUrl = broker.url

afterAll(() => broker.dispose())

const ctl = (...args: string[]) => broker.exec('rabbitmqctl', '--quiet', ...args)

it('shows its connections and its consumer under its name, with the configured heartbeat', async () => {
  const bus = createBus({ rabbitmqUrl, consumerName: 'billing-7', heartbeatMs: 17_000 })
  await consume(bus)

  const connections = await ctl('list_connections', 'timeout', 'client_properties')

  const names = [...connections.matchAll(/^(\d+)\s.*"connection_name","(billing-7 \w+)"/gm)]
  expect(names.map(([, seconds, name]) => `${name} ${seconds}`).toSorted()).toEqual([
    'billing-7 consumer 17',
    'billing-7 publisher 17',
  ])
  expect(await ctl('list_consumers', 'consumer_tag', 'prefetch_count')).toContain('billing-7-1\t10')
})

it('names the plugin that partitions need if it is not enabled, and does not retry', async () => {
  const bus = createBus({ rabbitmqUrl, partitions: 4 })
  await expect(bus.startConsuming()).rejects.toMatchObject({
    code: 'TOPOLOGY_CONFLICT',
    message: expect.stringContaining('rabbitmq_consistent_hash_exchange'),
  })
  // A group that one worker at a time consumes for needs no plugin.
  await consume(createBus({ rabbitmqUrl, exchangeName: freshName(), ordering: 'aggregate' }))
})

it('declares queues of the configured types in a virtual host whose default is another', async () => {
  await ctl('add_vhost', 'quorums', '--default-queue-type', 'quorum')
  await ctl('set_permissions', '--vhost', 'quorums', 'guest', '.*', '.*', '.*')
  const exchangeName = freshName()
  await consume(createBus({ rabbitmqUrl: `${rabbitmqUrl}quorums`, exchangeName, queueType: 'classic' }))

  const queues = await ctl('list_queues', '--vhost', 'quorums', 'name', 'type')

  expect(queues.trim().split('\n').slice(1).toSorted()).toEqual([
    `${exchangeName}.default\tclassic`,
    `${exchangeName}.default.bindings\tclassic`,
    `${exchangeName}.default.control\tclassic`,
    `${exchangeName}.default.dlq\tclassic`,
    `${exchangeName}.presence\tclassic`,
    `${exchangeName}_dlq.groups\tclassic`,
  ])
})

it('reports each group with the messages and consumers that rabbitmqctl reports, also without dead letters', async () => {
  const exchangeName = freshName()
  for (const consumerGroup of ['idle', 'other']) {
    const former = createBus({
      rabbitmqUrl,
      exchangeName,
      consumerGroup,
      enableDlq: consumerGroup === 'idle',
    })
    await consume(former)
    await former.shutdown()
  }
  const gate = Promise.withResolvers<void>()
  const bus = createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'busy' })
  bus.subscribe(OrderCreated, () => gate.promise)
  await consume(bus)
  const observers = Array.from({ length: 5 }, () =>
    createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'observer' }),
  )
  await bus.publish([orderCreated(), orderCreated()])
  await Promise.all(observers.map((observer) => observer.connect()))
  await until('both in flight', () => bus.getStats().inFlight === 2)

  // Several operators look at the same time.
  const [groups, ...others] = await Promise.all(observers.map(({ admin }) => admin.groups()))
  const queues = await ctl('list_queues', 'name', 'messages_ready', 'consumers')

  gate.resolve()
  const rows = groups?.map(({ name, lag, members }) => `${exchangeName}.${name}\t${lag}\t${members}`)
  expect(rows).toHaveLength(3)
  expect(queues.split('\n')).toEqual(expect.arrayContaining(rows ?? []))
  for (const other of others) expect(other).toEqual(groups)
})

it('leaves every queue as it was after an operator has looked, and needs a journal for past events', async () => {
  const exchangeName = freshName()
  await consume(createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'billing' })).then((bus) =>
    bus.shutdown(),
  )
  const bus = createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'operator', journal: true })
  await bus.publish(Array.from({ length: 2500 }, () => orderCreated()))
  const state = async () => {
    const rows = await ctl('list_queues', 'name', 'messages_ready', 'messages_unacknowledged', 'consumers')
    // Reports of processes expire.
    const isShown = (row: string) => row.startsWith(exchangeName) && !/\.(?:journal|presence)\b/.test(row)
    return rows.split('\n').filter(isShown).toSorted()
  }
  const before = await state()

  const forward: string[] = []
  for await (const { eventId } of bus.admin.browse({ limit: 5000 })) forward.push(eventId ?? '')
  const backward: string[] = []
  const query = { limit: 5000, direction: 'backward' } as const
  for await (const { eventId } of bus.admin.browse(query)) backward.push(eventId ?? '')
  const ended = new AbortController()
  const tail = bus.admin.tail({ signal: ended.signal, onReady: () => ended.abort() })
  for await (const { eventId } of tail) forward.push(eventId ?? '')

  expect(new Set(forward).size).toBe(2500)
  expect(backward).toEqual(forward.toReversed())
  await until('the end of the queue of the tail', async () => (await state()).length === before.length)
  expect(await state()).toEqual(before)
  const without = createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'operator' })
  await expect(without.admin.find('x')).rejects.toMatchObject({
    code: 'HISTORY_UNAVAILABLE',
    message: expect.stringContaining('set the option journal'),
  })
})

/** Runs the command `doctor`. No output may have a password. */
async function examine(exchangeName: string, url = rabbitmqUrl, ...words: readonly string[]) {
  const { code, stdout, stderr } = await shell(url, exchangeName).run('doctor', '--json', ...words)
  expect(`${stdout}${stderr}`).not.toContain('canary-')
  const findings: readonly Finding[] = JSON.parse(stdout).findings
  const clock = findings.filter(({ check }) => check === 'rabbitmq-clock')
  expect(clock.every(({ level }) => level === 'unknown')).toBe(true)
  const others = findings.filter((finding) => !clock.includes(finding))
  return { code, findings, problems: others.filter(({ level }) => level !== 'ok') }
}

/**
 * All exchanges and queues with their messages, in one call: the tool takes seconds to start. Without the reports of
 * processes, which expire by themselves, and without the number of messages in journals, which the server reports late.
 */
const EVERYTHING = `{lists:sort([N || {resource, _, exchange, N} <- rabbit_exchange:list_names()]), lists:sort([
  {amqqueue:get_name(Q), [I || not lists:suffix(".journal", binary_to_list(N)), I <- rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged, consumers])]}
  || Q <- rabbit_amqqueue:list(), {resource, _, queue, N} <- [amqqueue:get_name(Q)], not lists:suffix(".presence", binary_to_list(N))])}.`

it('finds planted faults with doctor, and leaves the broker as it was', async () => {
  const exchangeName = freshName()
  const bus = createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'billing', maxRetries: 0 })
  bus.subscribe(OrderCreated, () => Promise.reject(new Error('planned')), { name: 'charge' })
  await consume(bus)
  expect((await examine(exchangeName, rabbitmqUrl, '--group', 'billing')).problems).toEqual([])
  await bus.publish([orderCreated()])
  await until('the dead letter', async () => (await bus.deadLetters.count()) === 1)
  await bus.shutdown()
  const other = freshName()
  const channel = await plainChannel(rabbitmqUrl)
  await channel.assertExchange(other, 'fanout', { durable: true })
  await channel.assertQueue(`${other}.billing`, { durable: true })
  const before = await ctl('eval', EVERYTHING)
  expect(before).toContain(`${other}.billing`)

  const none = await examine(freshName())
  const idle = await examine(exchangeName)
  const conflicts = await examine(other, rabbitmqUrl, '--group', 'billing')

  expect(await ctl('eval', EVERYTHING)).toBe(before)
  expect([none.code, none.problems]).toEqual([0, []])
  expect(none.findings[0]?.text).toMatch(/^Connected to RabbitMQ \d+\.\d+\.\d+ at /)
  expect([idle.code, idle.problems.map(({ text }) => text)]).toEqual([
    5,
    [
      'Nobody consumes for the group billing, and 0 events wait for it.',
      'The group billing has 1 dead letter.',
    ],
  ])
  expect([conflicts.code, conflicts.problems]).toMatchObject([
    5,
    [
      {
        check: 'rabbitmq-exchange',
        level: 'fault',
        text: expect.stringMatching(/'topic' but current is 'fanout'/),
      },
      { check: 'rabbitmq-queues', level: 'fault', text: expect.stringMatching(/inequivalent arg 'x-/) },
      { check: 'groups', level: 'warning' },
    ],
  ])
  expect(conflicts.problems.map(({ remedy }) => remedy)).toMatchObject([
    `Use the same options or another name, or delete it: rabbitmqadmin -V '/' delete exchange 'name=${other}'`,
    `Use the same options or another name, or delete it: rabbitmqctl delete_queue -p '/' '${other}.billing'`,
    // The URL has a password.
    `Start a consumer, or remove the group: eventspine groups delete 'billing' <url> --prefix ${other}`,
  ])
  const [, command = ''] = /rabbitmqctl (.*)$/.exec(conflicts.problems[1]?.remedy ?? '') ?? []
  await ctl(...wordsOf(command))
  expect(await ctl('list_queues', 'name')).not.toContain(`${other}.billing\n`)
})

it('finds missing rights, refused logins and an alarm with doctor', async () => {
  const exchangeName = freshName()
  await consume(createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'billing' }))
  await ctl('add_user', 'guest-of-doctor', 'canary-77')
  await ctl('set_permissions', 'guest-of-doctor', '^$', '^$', '^$')
  const url = new URL(rabbitmqUrl)
  url.username = 'guest-of-doctor'
  url.password = 'canary-77'
  const { code, problems } = await examine(exchangeName, url.href, '--group', 'billing')
  const rights = problems.filter(({ level }) => level === 'fault').map(({ text }) => text)
  expect([code, rights]).toEqual([
    5,
    [
      `The user has no right to configure ${exchangeName}.`,
      `The user has no right to configure ${exchangeName}.billing.`,
      `The user has no right to configure ${exchangeName}.billing.dlq.`,
      `The user has no right to write ${exchangeName}.`,
      'The user has no right to write amq.default.',
      `The user has no right to write ${exchangeName}_dlq.`,
      `The user has no right to read ${exchangeName}.billing.`,
      `The user has no right to read ${exchangeName}.billing.dlq.`,
    ],
  ])
  const [, command = ''] = /rabbitmqctl (.*)$/.exec(problems[0]?.remedy ?? '') ?? []
  await ctl(...wordsOf(command))
  expect((await examine(exchangeName, url.href, '--group', 'billing')).problems).toEqual([])
  url.password = 'canary-78'
  const refused = await examine(exchangeName, url.href)
  expect([refused.code, refused.problems]).toMatchObject([
    3,
    [{ check: 'connection', text: expect.stringMatching(/refuses the credentials/) }],
  ])
  const elsewhere = await examine(exchangeName, `${rabbitmqUrl}no-such-host`)
  expect([elsewhere.code, elsewhere.problems[0]?.text]).toEqual([
    3,
    expect.stringMatching(/refuses the virtual host/),
  ])

  await ctl('set_vm_memory_high_watermark', 'absolute', '1MB')
  const alarmed = await examine(exchangeName).finally(() => ctl('set_vm_memory_high_watermark', '0.4'))
  expect([alarmed.code, alarmed.problems]).toMatchObject([
    5,
    [
      { check: 'rabbitmq-alarm', level: 'fault', text: 'The broker accepts no publishes: low on memory.' },
      { check: 'rabbitmq-rights', level: 'unknown' },
    ],
  ])

  await ctl('set_disk_free_limit', '100000GB')
  const full = await examine(exchangeName).finally(() => ctl('set_disk_free_limit', '50MB'))
  expect([full.code, full.problems]).toMatchObject([
    5,
    [
      {
        ...{ check: 'rabbitmq-alarm', level: 'fault', text: 'The broker accepts no publishes: low on disk.' },
        remedy: 'Free memory or disk of the broker: rabbitmqctl status',
      },
      { check: 'rabbitmq-rights', level: 'unknown' },
    ],
  ])
  await until('the end of the alarm', async () => (await examine(exchangeName)).code === 0)
})

it('leaves no queue and no exchange of a deleted group, but those of its dead letters', async () => {
  const exchangeName = freshName()
  for (const [consumerGroup, fails] of [
    ['empty', false],
    ['letters', true],
  ] as const) {
    const bus = createBus({ rabbitmqUrl, exchangeName, consumerGroup, maxRetries: 0 })
    bus.subscribe(OrderCreated, () => {
      if (fails) throw new Error('planned')
    })
    await consume(bus)
    if (fails) await bus.publish([orderCreated()])
    if (fails) await until('the dead letter', () => bus.getStats().messagesSentToDlq === 1)
    await bus.shutdown()
  }
  const { admin } = createBus({ rabbitmqUrl, exchangeName, consumerGroup: 'observer' })

  await expect(admin.seek('empty', 'first')).rejects.toMatchObject({ code: 'HISTORY_UNAVAILABLE' })
  await admin.deleteGroup('empty')
  await admin.deleteGroup('letters')

  expect(await admin.groups()).toMatchObject([{ name: 'letters', members: 0, lag: 0, deadLetters: 1 }])
  const queues = await ctl('list_queues', 'name')
  const own = queues.split('\n').filter((name) => name.startsWith(exchangeName))
  // The queue of the announced types expires by itself.
  expect(own.filter((name) => !name.includes('.types.')).toSorted()).toEqual([
    `${exchangeName}.letters.dlq`,
    `${exchangeName}.presence`,
    `${exchangeName}_dlq.groups`,
  ])
  const exchanges = (await ctl('list_exchanges', 'name')).split('\n')
  expect(exchanges.filter((name) => name.startsWith(`${exchangeName}.`))).toEqual([
    `${exchangeName}.presence`,
  ])
})

it('has no heartbeat if it is switched off, and a generated name if none is given', async () => {
  const bus = createBus({ rabbitmqUrl, heartbeatMs: Number.POSITIVE_INFINITY })
  await bus.connect()

  const connections = await ctl('list_connections', 'timeout', 'client_properties')

  const own = connections.split('\n').find((line) => line.includes(`"${bus.consumerName} publisher"`))
  expect(own).toMatch(/^0\s/)
  expect(createBus({ rabbitmqUrl }).consumerName).not.toBe(bus.consumerName)
})

it('resumes after the server closed its connections', async () => {
  const bus = createBus({ rabbitmqUrl })
  const notices = noticesOf(bus)
  const gate = Promise.withResolvers<void>()
  const runs: string[] = []
  bus.subscribe(OrderCreated, async ({ aggregateId }) => {
    runs.push(aggregateId)
    await gate.promise
  })
  await consume(bus)
  await bus.publish([orderCreated('before')])
  await until('the first', () => runs.length === 1)

  await ctl('close_all_connections', 'maintenance')

  await until('the reconnection', () => notices.some(({ type }) => type === 'reconnected'))
  gate.resolve()
  await bus.publish([orderCreated('after')])
  await until('both', () => bus.getStats().eventsProcessedSuccess === 2)
  // The handler succeeded during the outage, so the redelivered event was not passed to it.
  await until('an empty queue', async () => (await bus.getQueueInfo()).messageCount === 0)
  expect(runs).toEqual(['before', 'after'])
  const lost = notices.find((notice) => notice.type === 'connectionLost')
  expect(String(lost?.error)).toContain('maintenance')
  expect(bus.getStats().reconnections).toBe(1)
})

it('consumes and acknowledges through a memory alarm, while publishes wait and then reject', async () => {
  const logger = new RecordingLogger()
  const exchangeName = freshName()
  const consumer = createBus({ rabbitmqUrl, exchangeName, prefetchCount: 5 })
  const gate = Promise.withResolvers<void>()
  const events: string[] = []
  consumer.subscribe(OrderCreated, async ({ aggregateId }) => {
    events.push(aggregateId)
    if (events.length === 1) await gate.promise
  })
  await consume(consumer)
  const bus = createBus({ rabbitmqUrl, exchangeName, publishTimeoutMs: 1500, logger })
  const patient = createBus({ rabbitmqUrl, exchangeName, publishTimeoutMs: 60_000, logger })
  const ids = Array.from({ length: 50 }, (_, n) => `Order-${n}`)
  await bus.publish(ids.map(orderCreated))
  const waiting = async () => (await ctl('list_queues', 'name', 'messages')).split('\n')
  const messagesIn = (lines: readonly string[]) =>
    Number(lines.find((line) => line.startsWith(`${exchangeName}.default\t`))?.split('\t')[1])

  await ctl('set_vm_memory_high_watermark', 'absolute', '1MB')
  try {
    // The broker reports the alarm on the next publish, which it may still have stored.
    const first = await bus.publish([orderCreated('during')]).catch((thrown: unknown) => thrown)
    await until(
      'the alarm to be reported',
      async () => (await bus.health()).checks.publishing.status === 'degraded',
    )
    expect(first === undefined || first instanceof PublishError).toBe(true)
    const start = performance.now()
    const error = await bus.publish([orderCreated('late')]).catch((thrown: unknown) => thrown)
    expect(performance.now() - start).toBeGreaterThanOrEqual(1490)
    if (!(error instanceof PublishError)) throw new Error('the publish should have been rejected')
    expect(error.outcomes.map(({ status }) => status)).toEqual(['notStored'])
    expect(error.message).toContain('RabbitMQ blocks publishing (low on memory)')
    expect(await bus.health()).toMatchObject({
      status: 'degraded',
      checks: {
        connected: { status: 'up' },
        publishing: { status: 'degraded', detail: 'blocked by the broker: low on memory' },
      },
    })
    expect(logger.lines.some(({ message }) => message === 'publishing blocked by the broker')).toBe(true)

    // The broker does not read requests on a blocked connection, so the bus refuses them at once.
    await expect(bus.getDlqMessageCount()).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      retryable: true,
    })

    expect(messagesIn(await waiting())).toBeGreaterThan(0)
    gate.resolve()
    await until('all that was stored', () => ids.every((id) => events.includes(id)))
    // The queue has neither ready nor unacknowledged messages left.
    await until('an empty queue', async () => messagesIn(await waiting()) === 0)
    expect(consumer.getStats()).toMatchObject({ reconnections: 0, inFlight: 0 })
    const shutdownAt = performance.now()
    await bus.shutdown({ timeoutMs: paced(5000) })
    expect(performance.now() - shutdownAt).toBeLessThan(paced(2000))

    const early = patient.publish([orderCreated('early')])
    await until(
      'the alarm to be reported',
      async () => (await patient.health()).checks.publishing.status === 'degraded',
    )
    const waitingPublish = patient.publish([orderCreated('patient')])
    await ctl('set_vm_memory_high_watermark', '0.4')
    await Promise.all([early, waitingPublish])
  } finally {
    await ctl('set_vm_memory_high_watermark', '0.4')
  }
  await until('the event that waited', () => events.includes('patient'))
  expect(events).toContain('early')
  expect(await patient.health()).toMatchObject({ status: 'up', checks: { publishing: { status: 'up' } } })
  expect(logger.lines.some(({ message }) => message === 'publishing resumed')).toBe(true)
  expect(events).not.toContain('late')
})

it('names the missing permission, and does not retry', async () => {
  await ctl('add_user', 'reader', 'hunter2')
  await ctl('set_permissions', 'reader', '^$', '^$', '.*')
  const url = new URL(rabbitmqUrl)
  url.username = 'reader'
  url.password = 'hunter2'
  const error = await createBus({ rabbitmqUrl: url.href })
    .connect()
    .catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
  expect(String(error)).toMatch(/does not permit .* access to exchange 'test-/)
  expect(String(error)).not.toContain('hunter2')
})

it('publishes as before if it has no right to report itself', async () => {
  const exchangeName = freshName()
  await ctl('add_user', 'silent', 'secret')
  await ctl('set_permissions', 'silent', `^${exchangeName}$`, `^${exchangeName}$`, '^$')
  const url = new URL(rabbitmqUrl)
  url.username = 'silent'
  url.password = 'secret'
  const logger = new RecordingLogger()
  const bus = createBus({ rabbitmqUrl: url.href, exchangeName, presenceIntervalMs: 100, logger })
  await bus.publish([orderCreated()])
  await until('the refusal', () =>
    logger.lines.some(({ message }) => message.startsWith('presence of this process')),
  )
  await bus.publish([orderCreated()])
  expect(logger.lines.filter(({ level }) => level === 'warn' || level === 'error')).toMatchObject([
    { message: expect.stringMatching(/no queue/) },
  ])
  expect((await bus.health()).status).toBe('up')
})

it('names the right that a worker of partitions misses, instead of standing by', async () => {
  await broker.exec('rabbitmq-plugins', '--quiet', 'enable', 'rabbitmq_consistent_hash_exchange')
  await ctl('add_user', 'seatless', 'secret')
  await ctl('set_permissions', 'seatless', '.*', '.*', String.raw`^(?!.*\.workers\.)`)
  const url = new URL(rabbitmqUrl)
  url.username = 'seatless'
  url.password = 'secret'
  await expect(createBus({ rabbitmqUrl: url.href, partitions: 2 }).startConsuming()).rejects.toMatchObject({
    code: 'AUTHENTICATION_FAILED',
    message: expect.stringMatching(/does not permit .* access to queue 'test-.*\.workers\.0'/),
  })
})

it('reconnects once a changed password is valid again', async () => {
  await ctl('add_user', 'rotated', 'old')
  await ctl('set_permissions', 'rotated', '.*', '.*', '.*')
  const url = new URL(rabbitmqUrl)
  url.username = 'rotated'
  url.password = 'old'
  const logger = new RecordingLogger()
  const bus = createBus({ rabbitmqUrl: url.href, logger, reconnectDelayMs: 100, maxReconnectDelayMs: 100 })
  const events = recorder(bus)
  await consume(bus)
  await ctl('change_password', 'rotated', 'new')
  await ctl('close_all_connections', 'rotation')
  const refused = () => logger.lines.filter(({ message }) => message === 'reconnecting refused, trying again')
  await until('the refusal to be logged', () => refused().length > 0)
  expect((await bus.health()).status).toBe('down')

  await ctl('change_password', 'rotated', 'old')

  await until('the reconnection', () => bus.isConnected)
  await bus.publish([orderCreated()])
  await until('the event', () => events.length === 1)
})

it('keeps a message while its dead letter is refused, and dead-letters it afterwards', async () => {
  const exchangeName = freshName()
  const bus = createBus({ rabbitmqUrl, exchangeName, maxRetries: 0 })
  bus.subscribe(OrderCreated, () => {
    throw new Error('expected failure')
  })
  await consume(bus)
  const queue = `${exchangeName}.default.dlq`
  const limit = JSON.stringify({ 'max-length': 1, overflow: 'reject-publish' })
  await ctl('set_policy', exchangeName, `^${queue}$`, limit, '--apply-to', 'queues')
  await bus.publish([orderCreated('first')])
  await until('the first dead letter', () => bus.getStats().messagesSentToDlq === 1)

  await bus.publish([orderCreated('second')])
  await until('the second to fail', () => bus.getStats().handlerErrors === 2)
  const isUnacknowledged = async () => {
    const queues = await ctl('list_queues', 'name', 'messages_unacknowledged')
    return queues.includes(`${exchangeName}.default\t1`)
  }
  await until('the refusal', () => bus.getStats().lastErrorAt !== null && isUnacknowledged())
  expect(bus.getStats()).toMatchObject({ messagesSentToDlq: 1, inFlight: 1 })

  await ctl('clear_policy', exchangeName)

  await until('the second dead letter', () => bus.getStats().messagesSentToDlq === 2)
  expect(await bus.getDlqMessageCount()).toBe(2)
})

it('logs an error when its user is deleted, and reconnects when the user exists again', async () => {
  const add = async () => {
    await ctl('add_user', 'deleted', 'canary-secret')
    await ctl('set_permissions', 'deleted', '.*', '.*', '.*')
  }
  await add()
  const url = new URL(rabbitmqUrl)
  url.username = 'deleted'
  url.password = 'canary-secret'
  const logger = new RecordingLogger()
  const bus = createBus({ rabbitmqUrl: url.href, logger, reconnectDelayMs: 100, maxReconnectDelayMs: 100 })
  const notices = noticesOf(bus)
  const events = recorder(bus)
  await consume(bus)

  await ctl('delete_user', 'deleted')
  await ctl('close_all_connections', 'user deleted')
  await until('the refusal to be logged', () =>
    logger.lines.some(({ message }) => message === 'reconnecting refused, trying again'),
  )
  expect((await bus.health()).status).toBe('down')
  await add()

  await until('the reconnection', () => bus.isConnected)
  await bus.publish([orderCreated()])
  await until('the event', () => events.length === 1)
  expect(inspect([logger.lines, notices, bus], { depth: 12, showHidden: true })).not.toContain(
    'canary-secret',
  )
})

it('continues to consume while the disk is full, and reports why publishes wait', async () => {
  const exchangeName = freshName()
  const bus = createBus({ rabbitmqUrl, exchangeName, publishTimeoutMs: 1500 })
  const events = recorder(bus)
  await consume(bus)
  await bus.publish([orderCreated('before')])
  await until('the first', () => events.length === 1)

  await ctl('set_disk_free_limit', '100000GB')
  try {
    await bus.publish([orderCreated('first')]).catch(() => undefined)
    await until(
      'the alarm to be reported',
      async () => (await bus.health()).checks.publishing.status === 'degraded',
    )
    await expect(bus.publish([orderCreated('late')])).rejects.toThrow('low on disk')
  } finally {
    await ctl('set_disk_free_limit', '50MB')
  }
  await until('the end of the alarm', async () => (await bus.health()).checks.publishing.status === 'up')
  await bus.publish([orderCreated('after')])
  await until('the last', () => events.some(({ aggregateId }) => aggregateId === 'after'))
  expect(bus.getStats().reconnections).toBe(0)
})

it('reports each event that a full queue rejects, and publishes again when there is room', async () => {
  const exchangeName = freshName()
  const bus = createBus({ rabbitmqUrl, exchangeName })
  const events = recorder(bus)
  await consume(bus)
  await bus.stopConsuming()
  const limit = JSON.stringify({ 'max-length': 3, overflow: 'reject-publish' })
  await ctl('set_policy', exchangeName, `^${exchangeName}.default$`, limit, '--apply-to', 'queues')

  const outcomes: string[] = []
  for (let n = 0; n < 5; n += 1) {
    const error = await bus.publish([orderCreated(`Order-${n}`)]).catch((thrown: unknown) => thrown)
    outcomes.push(error instanceof PublishError ? String(error.outcomes[0]?.error) : 'stored')
  }
  await consume(bus)
  await until('what was stored', () => events.length === 3)
  await bus.publish([orderCreated('Order-5')])

  await until('the one after', () => events.length === 4)
  expect(outcomes.slice(0, 3)).toEqual(['stored', 'stored', 'stored'])
  expect(outcomes.slice(3)).toEqual(
    Array(2).fill(expect.stringContaining('a queue refused the event (nack)')),
  )
  expect(events.map(({ aggregateId }) => aggregateId)).toEqual(['Order-0', 'Order-1', 'Order-2', 'Order-5'])
})

/** Fetches the only message of a queue and returns it, as a consumer does that crashes with it. @returns the number of returns. */
async function returnsUntilGone(queue: string, atMost: number): Promise<number> {
  const channel = await plainChannel(rabbitmqUrl)
  for (let returns = 0; returns < atMost; returns += 1) {
    const message = await channel.get(queue)
    if (message === false) return returns
    channel.nack(message)
  }
  return atMost
}

it('keeps a message that a quorum queue gives up at its delivery limit, for inspection and replay', async () => {
  const exchangeName = freshName()
  const queue = `${exchangeName}.default`
  const bus = createBus({ rabbitmqUrl, exchangeName, queueType: 'quorum' })
  const events = recorder(bus)
  await consume(bus)
  await bus.stopConsuming()
  const limit = JSON.stringify({ 'delivery-limit': 2 })
  await ctl('set_policy', exchangeName, `^${queue}$`, limit, '--apply-to', 'queues')
  await bus.publish([orderCreated('given up')])

  expect(await returnsUntilGone(queue, 10)).toBe(3)

  await until('the dead letter', async () => (await bus.getDlqMessageCount()) === 1)
  expect(await bus.getDlqMessages()).toMatchObject([{ death: { count: 1, firstReason: 'delivery_limit' } }])
  await consume(bus)
  await bus.deadLetters.replayAll()
  await until('the replayed event', () => events.length === 1)
  expect(await bus.getDlqMessageCount()).toBe(0)
})

it('loses no message of a quorum queue to the default delivery limit, which RabbitMQ 4 introduced', async () => {
  const exchangeName = freshName()
  const queue = `${exchangeName}.default`
  const bus = createBus({ rabbitmqUrl, exchangeName, queueType: 'quorum' })
  await consume(bus)
  await bus.stopConsuming()
  await bus.publish([orderCreated('returned')])
  const hasLimit = Number.parseInt(await ctl('version'), 10) >= 4

  const returns = await returnsUntilGone(queue, 30)

  expect(returns).toBe(hasLimit ? 21 : 30)
  await until('the message or its dead letter', async () => {
    const { messageCount } = await bus.getQueueInfo()
    return messageCount + (await bus.getDlqMessageCount()) === 1
  })
  expect(await bus.getDlqMessageCount()).toBe(hasLimit ? 1 : 0)
})
