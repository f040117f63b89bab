import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { paced } from '../support/pace.ts'
import { addressOf, type ServerKind } from './broker.ts'
import { chosenServer } from './chosen-server.ts'
import { hasDocker } from './docker-host.ts'
import { endpointOf } from './endpoint.ts'
import { freePort } from './free-port.ts'
import { guard } from './guard.ts'
import { composeFile } from './images.ts'
import { launchBroker } from './launch-broker.ts'
import { isAnswering } from './probe.ts'
import { run } from './run.ts'

/** The environment variable with the address of a running broker. */
export const addressVariables = {
  redis: 'REDIS_URL',
  rabbitmq: 'RABBITMQ_URL',
  kafka: 'KAFKA_BOOTSTRAP_SERVERS',
  postgres: 'POSTGRES_URL',
} as const satisfies Record<ServerKind, string>

const composePorts = {
  redis: 'REDIS_PORT',
  rabbitmq: 'RABBITMQ_PORT',
  kafka: 'KAFKA_PORT',
  postgres: 'POSTGRES_PORT',
} as const
const kinds = ['redis', 'rabbitmq', 'kafka', 'postgres'] as const
const startTimeoutMs = paced(180_000)

export interface SharedBrokers {
  readonly addresses: Readonly<Record<ServerKind, string>>
  stop(): Promise<void>
}

type Addresses = Partial<Record<ServerKind, string>>

/** The servers of a test run: from the environment variables, otherwise started by `docker compose` or as processes. */
export async function startSharedBrokers(): Promise<SharedBrokers> {
  await Promise.all(kinds.map(requireGivenBroker))
  await using stack = new AsyncDisposableStack()
  const missing = kinds.filter((kind) => givenAddress(kind) === undefined)
  const isDefault = missing.every((kind) => chosenServer(kind) === undefined)
  const start = isDefault && (await hasDocker()) ? composeUp : launchAll
  const started = await start(missing, stack)
  const addressFor = (kind: ServerKind) => {
    const address = givenAddress(kind) ?? started[kind]
    if (address === undefined) throw new Error(`No ${kind} was started`)
    return address
  }
  const addresses = {
    redis: addressFor('redis'),
    rabbitmq: addressFor('rabbitmq'),
    kafka: addressFor('kafka'),
    postgres: addressFor('postgres'),
  }
  const running = stack.move()
  return { addresses, stop: () => running.disposeAsync() }
}

async function launchAll(missing: readonly ServerKind[], stack: AsyncDisposableStack): Promise<Addresses> {
  const launches = await Promise.allSettled(
    missing.map(async (kind) => [kind, stack.use(await launchBroker(kind)).url] as const),
  )
  const failures = launches.filter((launch) => launch.status === 'rejected').map((launch) => launch.reason)
  if (failures.length === 1) throw failures[0]
  if (failures.length > 1) throw new AggregateError(failures, failures.map(String).join('\n'))
  return Object.fromEntries(launches.filter((l) => l.status === 'fulfilled').map((l) => l.value))
}

async function composeUp(missing: readonly ServerKind[], stack: AsyncDisposableStack): Promise<Addresses> {
  if (missing.length === 0) return {}
  const compose = ['compose', '--file', composeFile, '--project-name', `eventspine-${randomUUID()}`]
  const down = [...compose, 'down', '--volumes']
  stack.defer(guard('docker "$@"', ...down))
  stack.defer(async () => {
    await run('docker', down)
  })
  const ports = await Promise.all(missing.map(async (kind) => [kind, await freePort()] as const))
  const env = Object.fromEntries(ports.map(([kind, port]) => [composePorts[kind], String(port)]))
  await run('docker', [...compose, 'up', '--detach', ...missing], env)
  await Promise.all(ports.map(([kind, port]) => untilAnswering(kind, port)))
  return Object.fromEntries(ports.map(([kind, port]) => [kind, addressOf(kind, port)]))
}

async function untilAnswering(kind: ServerKind, port: number): Promise<void> {
  const deadline = Date.now() + startTimeoutMs
  while (!(await isAnswering(kind, { host: '127.0.0.1', port }, 1_000))) {
    if (Date.now() > deadline)
      throw new Error(`${kind} on port ${port} did not answer within ${startTimeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function givenAddress(kind: ServerKind): string | undefined {
  return process.env[addressVariables[kind]] || undefined
}

/** Fails at once and names the variable; otherwise every test of that broker would fail later. */
async function requireGivenBroker(kind: ServerKind): Promise<void> {
  const address = givenAddress(kind)
  if (address === undefined) return
  const { host, port } = endpointOf(kind, address)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const socket = connect({ host, port, timeout: 10_000 }, resolve)
  const refuse = (cause?: unknown) =>
    reject(new Error(`${addressVariables[kind]} is ${host}:${port}, where no broker answers`, { cause }))
  socket.on('error', refuse).on('timeout', refuse)
  await promise.finally(() => socket.destroy())
}
