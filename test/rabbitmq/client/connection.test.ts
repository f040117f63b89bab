import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { PublishError } from '../../../src/index.ts'
import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { paced } from '../../support/pace.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'
import { replaceInText } from '../../support/replace-in-text.ts'
import { consume, createBus, freshName, noticesOf, proxiedBus, recorder, until } from '../scene.ts'

describe('connecting', () => {
  it.each([
    ['a wrong password', (url: URL) => (url.password = 'hunter2'), 'credentials'],
    ['a wrong user', (url: URL) => (url.username = 'nobody'), 'credentials'],
    ['a wrong virtual host', (url: URL) => (url.pathname = '/nowhere'), 'virtual host'],
  ])('fails at once with %s, and does not retry', async (_what, change, words) => {
    const url = new URL(inject('rabbitmqUrl'))
    change(url)
    const logger = new RecordingLogger()
    const bus = createBus({ rabbitmqUrl: url.href, logger })
    const error = await bus.connect().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'AUTHENTICATION_FAILED', retryable: false })
    expect(String(error)).toContain(words)
    const published = await bus.publish([orderCreated()]).catch((thrown: unknown) => thrown)
    expect(published).toBeInstanceOf(PublishError)
    bus.startConsumingInBackground()
    await expect(bus.whenConsuming()).rejects.toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    expect(logger.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
    expect(JSON.stringify([String(error), String(published), logger.lines.map(String)])).not.toContain(
      'hunter2',
    )
  })

  it('refuses a server that is too old, with its version', async () => {
    const { bus, proxy } = await proxiedBus()
    // The Start frame has the field `version`: its type, four bytes of length, the text.
    proxy.rewriteAnswers((chunk) => replaceInText(chunk, /(?<=versionS\0\0\0.)(3\.10|4\.[^.]\.?)/s, '3.9.'))
    const error = await bus.connect().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
    expect(String(error)).toMatch(
      /RabbitMQ at \S+ has version 3\.9\.\S*\. RabbitMQEventBus needs RabbitMQ 3\.10/,
    )
  })

  it('tries the other nodes of a cluster', async () => {
    const bus = createBus({ rabbitmqUrl: ['amqp://guest:guest@127.0.0.1:1/', inject('rabbitmqUrl')] })
    await bus.publish([orderCreated()])
    expect(bus.isConnected).toBe(true)
  })

  it('gives up on a broker that does not answer within connectTimeoutMs', async () => {
    const { bus, proxy } = await proxiedBus({ connectTimeoutMs: 200 })
    proxy.freeze()
    const start = performance.now()
    await expect(bus.connect()).rejects.toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
    expect(performance.now() - start).toBeLessThan(paced(1500))
  })

  it('detects a silent connection by its heartbeats, and reconnects', async () => {
    const { bus, proxy } = await proxiedBus({
      heartbeatMs: 1000,
      reconnectDelayMs: 100,
      maxReconnectDelayMs: 200,
      connectTimeoutMs: 500,
    })
    const notices = noticesOf(bus)
    const events = recorder(bus)
    await consume(bus)
    proxy.freeze()
    await until('the loss', () => notices.some(({ type }) => type === 'connectionLost'), 5000)
    expect(await bus.health()).toMatchObject({ status: 'down', checks: { connected: { status: 'down' } } })
    proxy.thaw()
    await until('the reconnection', () => notices.some(({ type }) => type === 'reconnected'))
    await bus.publish([orderCreated()])
    await until('the event', () => events.length === 1)
  })
})

describe('a connection that breaks', () => {
  it('settles every request in flight', async () => {
    const { bus, proxy } = await proxiedBus({ reconnectDelayMs: 20, maxReconnectDelayMs: 50 })
    await bus.publish([orderCreated()])
    for (let round = 0; round < 20; round += 1) {
      await until('the connection', () => bus.isConnected)
      const asked = Array.from({ length: 20 }, () => bus.deadLetters.count().catch(() => undefined))
      await delay(round / 2)
      proxy.cut()
      let answered = 0
      for (const question of asked) void question.then(() => (answered += 1))
      await until('all to be answered', () => answered === asked.length, 5000)
    }
  })
})

describe('a process that does not run for longer than its heartbeats', () => {
  it('starts none of the messages it held until the broker delivers them again', async () => {
    const exchangeName = freshName()
    const bus = createBus({ exchangeName, heartbeatMs: 1000, concurrency: 1, reconnectDelayMs: 50 })
    const notices = noticesOf(bus)
    const seen: number[] = []
    bus.subscribe(OrderCreated, ({ customerId }) => {
      seen.push(Number(customerId))
      // Blocks for longer than the broker waits for heartbeats.
      if (customerId === '0') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000)
    })
    await consume(bus)
    const events = Array.from(
      { length: 8 },
      (_, n) => new OrderCreated({ aggregateId: 'Order-1', customerId: `${n}` }),
    )
    await bus.publish(events)

    await until('the reconnection', () => notices.some(({ type }) => type === 'reconnected'))
    // The publishing connection of the first bus may be lost too, without having been noticed yet.
    const other = createBus({ exchangeName })
    await other.publish([new OrderCreated({ aggregateId: 'Order-1', customerId: '8' })])
    await until('all events', () => seen.includes(8))

    expect(seen.filter((n) => n > 0)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })
})

describe('stopping', () => {
  it('closes the socket of a connection that fell silent', async () => {
    const sockets: Socket[] = []
    // Node publishes objects of this form on this channel.
    const note = (message: unknown) => sockets.push((message as { readonly socket: Socket }).socket)
    subscribe('net.client.socket', note)
    onTestFinished(() => void unsubscribe('net.client.socket', note))
    const { bus, proxy } = await proxiedBus({ heartbeatMs: 1000, reconnectDelayMs: 100 })
    const notices = noticesOf(bus)
    await consume(bus)
    proxy.freeze()
    await until('the loss', () => notices.some(({ type }) => type === 'connectionLost'), 5000)
    proxy.thaw()
    await until('the reconnection', () => notices.some(({ type }) => type === 'reconnected'))

    await bus.shutdown()

    const left = () => sockets.filter(({ destroyed, remotePort }) => !destroyed && remotePort === proxy.port)
    await until('no socket to be left', () => left().length === 0, 2000)
    expect(sockets.length).toBeGreaterThan(2)
  })

  it('is quick if the connection breaks while it closes', async () => {
    const { bus, proxy } = await proxiedBus()
    await bus.connect()
    proxy.cut()
    const start = performance.now()
    await bus.shutdown({ timeoutMs: paced(5000) })
    expect(performance.now() - start).toBeLessThan(paced(1000))
  })

  it('is immediate when idle', async () => {
    const bus = createBus()
    const consuming = bus.startConsuming()
    await bus.whenConsuming()
    const start = performance.now()
    await bus.stopConsuming()
    await consuming
    await consume(bus)
    await bus.shutdown()
    expect(performance.now() - start).toBeLessThan(paced(1000))
  })
})
