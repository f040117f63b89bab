import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Broker, type BrokerHost, type LaunchOptions, type ServerKind } from './broker.ts'
import { chosenServer } from './chosen-server.ts'
import { dataFolder } from './data-folder.ts'
import { DockerHost, hasDocker } from './docker-host.ts'
import { freePort } from './free-port.ts'
import { NativeHost } from './native-host.ts'
import { kafkaCommand } from './native-kafka.ts'
import { postgresCommand } from './native-postgres.ts'
import { rabbitMqCommand } from './native-rabbitmq.ts'
import { redisCommand } from './native-redis.ts'

const nativeCommands = {
  redis: redisCommand,
  rabbitmq: rabbitMqCommand,
  kafka: kafkaCommand,
  postgres: postgresCommand,
}

/** Starts a broker for the caller alone: in Docker if an engine answers, otherwise as a process. */
export async function launchBroker<Kind extends ServerKind>(
  kind: Kind,
  options: LaunchOptions = {},
): Promise<Broker<Kind>> {
  const port = await freePort()
  // A chosen server runs as a process: it is no image of compose.yaml.
  const host =
    chosenServer(kind) === undefined && (await hasDocker())
      ? await DockerHost.create(kind, port, options)
      : await createNativeHost(kind, port, options)
  const broker = new Broker(kind, port, host)
  try {
    await broker.start()
  } catch (error) {
    await broker.dispose()
    throw error
  }
  return broker
}

/** @returns a broker on this machine that has not been started. */
export async function createNativeHost(
  kind: ServerKind,
  port: number,
  options: LaunchOptions,
): Promise<BrokerHost> {
  // A benchmark measures the disk, too.
  const parent = options.isMeasured === true ? tmpdir() : dataFolder
  const folder = await mkdtemp(join(parent, `eventspine-${kind}-`))
  try {
    return new NativeHost(await nativeCommands[kind](folder, port, options))
  } catch (error) {
    await rm(folder, { recursive: true })
    throw error
  }
}
