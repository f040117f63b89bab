import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { inject, onTestFinished } from 'vitest'
import type { BusNotice, DomainEvent } from '../../src/index.ts'
import { RabbitMQEventBus, type RabbitMQEventBusOptions } from '../../src/rabbitmq/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { waitFor } from '../support/wait-for.ts'

/** A fresh name for a test's exchange. */
export function freshName(): string {
  return `test-${randomUUID().slice(0, 8)}`
}

/** A bus with short delays, shut down when the test ends. */
export function createBus(options: RabbitMQEventBusOptions = {}): RabbitMQEventBus {
  const bus = new RabbitMQEventBus({
    rabbitmqUrl: inject('rabbitmqUrl'),
    exchangeName: freshName(),
    retryBaseDelayMs: 10,
    retryMaxDelayMs: 50,
    shutdownTimeoutMs: 5000,
    logger: new RecordingLogger(),
    ...options,
  })
  onTestFinished(() => bus.shutdown({ timeoutMs: 2000 }))
  return bus
}

/** A bus that reaches the shared broker through a proxy of its own. */
export async function proxiedBus(options: RabbitMQEventBusOptions = {}) {
  const { port } = new URL(inject('rabbitmqUrl'))
  const proxy = await TcpProxy.start({ host: '127.0.0.1', port: Number(port) })
  onTestFinished(() => proxy.close())
  return { proxy, bus: createBus({ rabbitmqUrl: `amqp://127.0.0.1:${proxy.port}`, ...options }) }
}

/** Starts a bus and waits until it consumes. */
export async function consume(bus: RabbitMQEventBus): Promise<RabbitMQEventBus> {
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  return bus
}

/** Subscribes a handler to all events. @returns the events that it has received. */
export function recorder(bus: RabbitMQEventBus): DomainEvent[] {
  const events: DomainEvent[] = []
  bus.subscribeToAllEvents((event) => {
    events.push(event)
  })
  return events
}

export function noticesOf(bus: RabbitMQEventBus): BusNotice[] {
  const notices: BusNotice[] = []
  bus.onNotice((notice) => notices.push(notice))
  return notices
}

export function typesOf(events: readonly DomainEvent[]): readonly string[] {
  return events.map(({ eventType }) => eventType).toSorted()
}

export async function until(what: string, condition: () => unknown, timeoutMs = 15_000): Promise<void> {
  await waitFor(condition, { timeoutMs, describe: () => what })
}

/** A channel of a plain amqplib client; closed when the test ends. */
export async function plainChannel(url: string = inject('rabbitmqUrl')) {
  const connection = await connect(url)
  connection.on('error', () => undefined)
  onTestFinished(() => connection.close().catch(() => undefined))
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => undefined)
  return channel
}

/** Whether the broker has a queue of this name. */
export async function hasQueue(name: string): Promise<boolean> {
  const channel = await plainChannel()
  return channel.checkQueue(name).then(
    () => true,
    () => false,
  )
}
