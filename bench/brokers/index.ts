import type { BrokerKind } from '../../test/brokers/broker.ts'
import type { BrokerBench } from '../broker-bench.ts'

/** Loads a broker's client only if that broker is measured. */
export async function brokerBench(kind: BrokerKind, url: string): Promise<BrokerBench> {
  switch (kind) {
    case 'redis':
      return await (await import('./redis.ts')).redisBench(url)
    case 'rabbitmq':
      return await (await import('./rabbitmq.ts')).rabbitMqBench(url)
    case 'kafka':
      return await (await import('./kafka.ts')).kafkaBench(url)
  }
}

export function brokerKindOf(text: string | undefined): BrokerKind {
  if (text === 'redis' || text === 'rabbitmq' || text === 'kafka') return text
  throw new Error(`Which broker: redis, rabbitmq or kafka? Got ${text}`)
}
