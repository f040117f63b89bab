import { hasDocker } from './docker-host.ts'
import { preparedKafka } from './kafka-preparation.ts'
import { prepareRabbitMq } from './native-rabbitmq.ts'
import { requirePrograms } from './programs.ts'

/**
 * Installs and prepares what the tests on servers need, so that no test waits for it. The tests would do the same when they
 * start their servers, one installation after the other.
 */
export async function prepareServers(): Promise<void> {
  if (await hasDocker()) return requirePrograms('chromium')
  await requirePrograms('redis-server', 'rabbitmq-server', 'epmd', 'java', 'initdb', 'pgbouncer', 'chromium')
  await Promise.all([preparedKafka(), prepareRabbitMq()])
}
