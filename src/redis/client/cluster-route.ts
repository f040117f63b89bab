import type { ClusterNode, RedisClient } from './client.ts'

/**
 * Finds the node of a Redis Cluster that has the keys of a bus. All of them are in one slot. It remembers all nodes, so that
 * the slot is found again after its node has failed. Outside a cluster, it stays empty.
 */
export class ClusterRoute {
  readonly #key: string
  #target: ClusterNode | undefined
  #nodes: readonly ClusterNode[] = []
  #failures = 0
  /** True if the last server that was asked is not part of a cluster. */
  #isStandalone = false

  /** @param key - one of the keys of the bus. */
  constructor(key: string) {
    this.#key = key
  }

  /** The node to connect to next; undefined for the server that the user named. */
  get target(): ClusterNode | undefined {
    return this.#target
  }

  /** True if the server is part of a cluster. */
  get isCluster(): boolean {
    return this.#nodes.length > 0
  }

  /** @returns true if this node serves the slot, or is not part of a cluster. Otherwise `target` is the node that does. */
  async isAt(client: RedisClient): Promise<boolean> {
    if (this.#isStandalone) return true
    this.#isStandalone = !(await isClusterNode(client))
    if (this.#isStandalone) return true
    const [slot, ownId, ranges] = await Promise.all([
      client.sendCommand(['CLUSTER', 'KEYSLOT', this.#key]),
      client.sendCommand(['CLUSTER', 'MYID']),
      client.sendCommand(['CLUSTER', 'SLOTS']),
    ])
    const rows = Array.isArray(ranges) ? ranges.map(readRange) : []
    this.#nodes = rows.flatMap(({ nodes }) => nodes)
    const owner = rows.find(({ from, to }) => from <= Number(slot) && Number(slot) <= to)?.nodes[0]
    // Without an owner, the cluster is down, and the server says so for each command.
    if (owner === undefined || owner.id === String(ownId)) return true
    this.#target = owner
    return false
  }

  /** Called if the connection to the target failed: another node may know the new owner of the slot. */
  failed(): void {
    this.#isStandalone = false
    if (!this.isCluster) return
    this.#target = this.#nodes[this.#failures % (this.#nodes.length + 1)]
    this.#failures += 1
  }
}

interface SlotRange {
  readonly from: number
  readonly to: number
  /** The primary, then its replicas. */
  readonly nodes: readonly (ClusterNode & { readonly id: string })[]
}

async function isClusterNode(client: RedisClient): Promise<boolean> {
  try {
    return /^cluster_enabled:1/m.test(String(await client.sendCommand(['INFO', 'cluster'])))
  } catch {
    return false // not permitted: the server is used as it is
  }
}

function readRange(row: unknown): SlotRange {
  const [from, to, ...nodes]: unknown[] = Array.isArray(row) ? row : []
  return {
    from: Number(from),
    to: Number(to),
    nodes: nodes.flatMap((node: unknown) => {
      const [host, port, id]: unknown[] = Array.isArray(node) ? node : []
      return host === null || host === '' ? [] : [{ host: String(host), port: Number(port), id: String(id) }]
    }),
  }
}

/** True if only a part of the key decides on its slot: the text between the first `{` and the next `}`. */
export function hasHashTag(key: string): boolean {
  const start = key.indexOf('{')
  return start !== -1 && key.indexOf('}', start) > start + 1
}
