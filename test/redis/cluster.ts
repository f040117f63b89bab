import { freePort } from '../brokers/free-port.ts'
import { waitFor } from '../support/wait-for.ts'
import { connectClient, launchRedis } from './scene.ts'

const SLOTS = 16_384
const PRIMARIES = 3

type Node = Awaited<ReturnType<typeof launchNode>>

/** A Redis Cluster of three primaries, and a replica of the first. Each node is a server of its own. */
export async function launchCluster(): Promise<{
  readonly primaries: readonly Node[]
  readonly replica: Node
}> {
  const nodes = await Promise.all(Array.from({ length: PRIMARIES + 1 }, () => launchNode()))
  const [first, ...others] = nodes
  const replica = nodes.at(-1)
  if (first === undefined || replica === undefined) throw new Error('expected nodes')
  const primaries = nodes.slice(0, PRIMARIES)
  for (const [index, { admin }] of primaries.entries()) {
    const [from, to] = [index, index + 1].map((n) => Math.floor((n * SLOTS) / PRIMARIES))
    await admin.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', String(from), String(Number(to) - 1)])
  }
  for (const { port, busPort } of others)
    await first.admin.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', String(port), String(busPort)])
  const firstId = String(await first.admin.sendCommand(['CLUSTER', 'MYID']))
  await waitFor(() => replica.admin.sendCommand(['CLUSTER', 'REPLICATE', firstId]), { timeoutMs: 20_000 })
  for (const { admin } of nodes) {
    await waitFor(
      async () => {
        const slots = await admin.sendCommand(['CLUSTER', 'SLOTS'])
        const isOk = String(await admin.sendCommand(['CLUSTER', 'INFO'])).includes('cluster_state:ok')
        // The first range lists its primary and the replica.
        return (
          isOk &&
          Array.isArray(slots) &&
          slots.length === PRIMARIES &&
          String(slots).includes(String(replica.port))
        )
      },
      { timeoutMs: 30_000 },
    )
  }
  await waitFor(async () =>
    String(await replica.admin.sendCommand(['INFO', 'replication'])).includes('master_link_status:up'),
  )
  return { primaries, replica }
}

async function launchNode() {
  const busPort = await freePort()
  const broker = await launchRedis(
    'cluster-enabled yes',
    `cluster-port ${busPort}`,
    'cluster-node-timeout 2000',
  )
  return { broker, port: broker.port, url: broker.url, busPort, admin: await connectClient(broker.url) }
}

/** A prefix whose keys are in the slots of the primary with this index. */
export async function prefixAt({ admin }: Node, index: number, freshPrefix: () => string): Promise<string> {
  for (;;) {
    const prefix = freshPrefix()
    const slot = Number(await admin.sendCommand(['CLUSTER', 'KEYSLOT', prefix]))
    if (Math.floor((slot * PRIMARIES) / SLOTS) === index) return prefix
  }
}
