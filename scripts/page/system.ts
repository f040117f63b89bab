import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { BrokerEventBus, createEventBus, defineEvent } from '../../src/index.ts'
import { createOperatorHandler, operatorListener } from '../../src/operator/index.ts'
import type { BrokerKind } from '../../test/brokers/broker.ts'
import { launchBroker } from '../../test/brokers/launch-broker.ts'
import { KafkaProxy } from '../../test/kafka/proxy.ts'
import { serve } from '../../test/operator/serve.ts'
import { TcpProxy } from '../../test/support/tcp-proxy.ts'

export class Placed extends defineEvent({
  type: 'Placed',
  aggregateType: 'Order',
  schema: z.object({ n: z.int(), at: z.number(), note: z.string() }),
}) {}

const NOTE = 'x'.repeat(120)

export const placed = (n: number) =>
  new Placed({ aggregateId: `Order-${n % 1000}`, n, at: Date.now(), note: NOTE })

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** A broker of its own, and the page of a bus whose bytes from the broker are counted. */
export async function openSystem(kind: BrokerKind) {
  const broker = await launchBroker(kind)
  const { hostname, port } = new URL(kind === 'kafka' ? `kafka://${broker.url}` : broker.url)
  const network = await TcpProxy.start({ host: hostname, port: Number(port) })
  const front = kind === 'kafka' ? await KafkaProxy.start(Number(port), network.port) : network
  const read = { bytes: 0 }
  network.rewriteAnswers((chunk) => {
    read.bytes += chunk.length
    return chunk
  })
  const scheme = { redis: 'redis', rabbitmq: 'amqp', kafka: 'kafka' }[kind]
  const prefix = `page-${randomUUID().slice(0, 8)}`
  const buses: BrokerEventBus[] = []
  const open = (consumerGroup: string, through: number = Number(port)) => {
    const options = {
      prefix,
      consumerGroup,
      logger: quiet,
      ...(kind === 'rabbitmq' && { rabbitmq: { journal: true } }),
    }
    const bus = createEventBus(`${scheme}://127.0.0.1:${through}`, options)
    if (!(bus instanceof BrokerEventBus)) throw new TypeError('The URL is one of a broker.')
    buses.push(bus)
    return bus
  }
  const page = open('page', front.port)
  const handler = createOperatorHandler({
    buses: { orders: page },
    authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
    logger: quiet,
  })
  const server = await serve(operatorListener(handler))
  const get = async (path: string) => (await handler(new Request(new URL(path, 'http://localhost')))).text()
  return {
    ...{ open, page, read, handler, server, get, prefix },
    url: `${scheme}://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      await handler.close()
      await Promise.all(buses.map((bus) => bus.shutdown({ timeoutMs: 2000 })))
      front.close()
      network.close()
      await broker.dispose()
    },
  }
}

/** Publishes in batches. */
export async function publish(bus: BrokerEventBus, events: readonly Placed[]): Promise<void> {
  for (let at = 0; at < events.length; at += 1000) await bus.publish(events.slice(at, at + 1000))
}
