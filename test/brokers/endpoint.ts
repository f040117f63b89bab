import type { ServerKind } from './broker.ts'

export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** @returns host and port of an address: a URL, or for Kafka the first of its bootstrap servers. */
export function endpointOf(kind: ServerKind, address: string): Endpoint {
  const rabbitmq = address.startsWith('amqps:') ? 5671 : 5672
  const defaultPorts = { redis: 6379, rabbitmq, kafka: 9092, postgres: 5432 }
  const url = new URL(kind === 'kafka' ? `kafka://${address.split(',')[0]}` : address)
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || defaultPorts[kind] }
}
