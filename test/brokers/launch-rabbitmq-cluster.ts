import { randomUUID } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Broker, type BrokerHost } from './broker.ts'
import { DockerHost, hasDocker } from './docker-host.ts'
import { freePort } from './free-port.ts'
import { NativeHost } from './native-host.ts'
import { rabbitMqCommand } from './native-rabbitmq.ts'
import { run } from './run.ts'

/** Nodes of one RabbitMQ, each of which can be killed and started again. */
export interface RabbitMQCluster {
  /** The first is the one that must live for the others to find each other. */
  readonly nodes: readonly Broker[]
  dispose(): Promise<void>
}

/** Starts a cluster for the caller alone: in Docker where an engine answers, else as processes. */
export async function launchRabbitMQCluster(size: number): Promise<RabbitMQCluster> {
  const { createHost, removeNetwork } = (await hasDocker()) ? await inDocker() : await asProcesses()
  const nodes: Broker[] = []
  const dispose = async () => {
    for (const node of nodes) await node.dispose()
    await removeNetwork()
  }
  try {
    for (let index = 0; index < size; index += 1) {
      const port = await freePort()
      const node = new Broker('rabbitmq', port, await createHost(port))
      nodes.push(node)
      await node.start()
      const [first] = nodes
      if (first !== undefined && node !== first) await joinCluster(node, first)
    }
  } catch (error) {
    await dispose()
    throw error
  }
  return { nodes, dispose }
}

async function joinCluster(node: Broker, other: Broker): Promise<void> {
  const name = (await other.exec('rabbitmqctl', 'eval', 'node().')).trim().replaceAll("'", '')
  await node.exec('rabbitmqctl', 'stop_app')
  await node.exec('rabbitmqctl', 'join_cluster', name)
  await node.exec('rabbitmqctl', 'start_app')
}

/** How the nodes of a cluster are made. */
interface Nursery {
  readonly createHost: (port: number) => Promise<BrokerHost>
  readonly removeNetwork: () => Promise<void>
}

async function asProcesses(): Promise<Nursery> {
  const cluster = { cookie: randomUUID(), epmdPort: await freePort() }
  return {
    createHost: async (port) => {
      const folder = await mkdtemp(join(tmpdir(), 'eventspine-rabbitmq-'))
      return new NativeHost(await rabbitMqCommand(folder, port, [], cluster))
    },
    removeNetwork: () => Promise.resolve(),
  }
}

async function inDocker(): Promise<Nursery> {
  const network = `eventspine-${randomUUID()}`
  await run('docker', ['network', 'create', network])
  const shared = ['--network', network, '--env', `RABBITMQ_ERLANG_COOKIE=${randomUUID()}`]
  return {
    createHost: (port) =>
      DockerHost.create(
        'rabbitmq',
        port,
        [],
        [...shared, '--hostname', `node-${port}`, '--network-alias', `node-${port}`],
      ),
    removeNetwork: async () => {
      await run('docker', ['network', 'rm', network])
    },
  }
}
