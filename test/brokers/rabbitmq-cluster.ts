import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Broker } from './broker.ts'
import { dataFolder } from './data-folder.ts'
import { freePort } from './free-port.ts'
import { NativeHost } from './native-host.ts'
import { type ClusterMembership, rabbitMqCommand } from './native-rabbitmq.ts'

/**
 * Starts several RabbitMQ nodes as one cluster, as processes on this machine. They find each other through the name server
 * of the first node, which must stay alive.
 */
export async function launchRabbitMQCluster(size: number): Promise<readonly Broker[]> {
  const cluster = { cookie: randomUUID(), epmdPort: await freePort() }
  const nodes: Broker[] = []
  try {
    for (let index = 0; index < size; index += 1) {
      const node = await createNode(cluster)
      nodes.push(node)
      await node.start()
      const [first] = nodes
      if (first !== undefined && node !== first) await joinCluster(node, first)
    }
  } catch (error) {
    await Promise.all(nodes.map((node) => node.dispose()))
    throw error
  }
  return nodes
}

async function createNode(cluster: ClusterMembership): Promise<Broker> {
  const port = await freePort()
  const folder = await mkdtemp(join(dataFolder, 'eventspine-rabbitmq-'))
  try {
    return new Broker('rabbitmq', port, new NativeHost(await rabbitMqCommand(folder, port, {}, cluster)))
  } catch (error) {
    await rm(folder, { recursive: true })
    throw error
  }
}

async function joinCluster(node: Broker, other: Broker): Promise<void> {
  const name = (await other.exec('rabbitmqctl', 'eval', 'node().')).trim().replaceAll("'", '')
  await node.exec('rabbitmqctl', 'stop_app')
  await node.exec('rabbitmqctl', 'join_cluster', name)
  await node.exec('rabbitmqctl', 'start_app')
}
