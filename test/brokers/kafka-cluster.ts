import { Broker } from './broker.ts'
import { freePort } from './free-port.ts'
import { createNativeHost } from './launch-broker.ts'

/**
 * Starts several Kafka nodes as one cluster, as processes on this machine. Each node is broker and controller. Topics are
 * replicated to all nodes, and a record is confirmed when two nodes have it.
 */
export async function launchKafkaCluster(size: number): Promise<readonly Broker[]> {
  const ids = Array.from({ length: size }, (_, index) => index + 1)
  const places = await Promise.all(
    ids.map(async (id) => ({ id, port: await freePort(), controllerPort: await freePort() })),
  )
  const voters = places.map(({ id, controllerPort }) => `${id}@127.0.0.1:${controllerPort}`).join()
  const nodes = await Promise.all(
    places.map(async ({ id, port, controllerPort }) => {
      const config = [
        `node.id=${id}`,
        `controller.quorum.voters=${voters}`,
        `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
        `default.replication.factor=${size}`,
        `offsets.topic.replication.factor=${size}`,
        'min.insync.replicas=2',
      ]
      return new Broker('kafka', port, await createNativeHost('kafka', port, { config }))
    }),
  )
  try {
    await Promise.all(nodes.map((node) => node.start()))
  } catch (error) {
    await Promise.all(nodes.map((node) => node.dispose()))
    throw error
  }
  return nodes
}
