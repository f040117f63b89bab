import type { TestProject } from 'vitest/node'
import { startSharedBrokers } from './shared-brokers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    redisUrl: string
    rabbitmqUrl: string
    kafkaBootstrapServers: string
    postgresUrl: string
  }
}

/** Starts the brokers that the tests share, and provides their addresses to `inject('redisUrl')` and the like. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { addresses, stop } = await startSharedBrokers()
  project.provide('redisUrl', addresses.redis)
  project.provide('rabbitmqUrl', addresses.rabbitmq)
  project.provide('kafkaBootstrapServers', addresses.kafka)
  project.provide('postgresUrl', addresses.postgres)
  return stop
}
