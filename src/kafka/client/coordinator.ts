import { ConnectionError } from '../../transport/errors.ts'
import { CODE, isPassing, nameOf, refusal } from '../errors.ts'
import type { KafkaApi } from './client.ts'
import type { ConnectionUse, KafkaCluster } from './cluster.ts'

const GROUP = 0

/** The broker that keeps a group, found anew when it moves. */
export class KafkaCoordinator {
  readonly #cluster: KafkaCluster
  readonly #group: string
  #node: number | undefined
  /** Where the last request of each use went: it may still wait there. */
  readonly #last = new Map<ConnectionUse, number>()

  constructor(cluster: KafkaCluster, group: string) {
    this.#cluster = cluster
    this.#group = group
  }

  /** Sends a request to the coordinator. @throws ConnectionError when there is none or it does not answer */
  async request<Args extends readonly unknown[], T>(
    use: ConnectionUse,
    api: KafkaApi<Args, T>,
    args: Args,
    timeoutMs?: number,
  ): Promise<T> {
    const node = this.#node ?? (await this.#find())
    try {
      this.#last.set(use, node)
      return await this.#cluster.request(node, use, api, args, timeoutMs)
    } catch (error) {
      this.#node = undefined
      throw error
    }
  }

  /** Forgets the coordinator when an answer says that it is none, or not yet. */
  heed(code: number): void {
    if (code === CODE.NOT_COORDINATOR || code === CODE.COORDINATOR_NOT_AVAILABLE) this.#node = undefined
  }

  /** Gives up a request that waits at the coordinator. */
  async cut(use: ConnectionUse): Promise<void> {
    this.#node = undefined
    const node = this.#last.get(use)
    if (node !== undefined) await this.#cluster.cut(node, use)
  }

  async #find(): Promise<number> {
    const { findCoordinator } = this.#cluster.session.apis
    const answer = await this.#cluster.request(undefined, 'control', findCoordinator, [GROUP, [this.#group]])
    const found = answer.coordinators[0]
    const code = found?.errorCode ?? CODE.COORDINATOR_NOT_AVAILABLE
    if (found !== undefined && code === CODE.NONE) {
      // The metadata may be older than this broker.
      if (!this.#cluster.brokerIds.includes(found.nodeId)) await this.#cluster.metadata([])
      this.#node = found.nodeId
      return found.nodeId
    }
    if (!isPassing(code)) throw refusal(this.#cluster.address, `Finding the group ${this.#group}`, code)
    throw new ConnectionError(
      'CONNECTION_FAILED',
      `The group ${this.#group} has no coordinator at the moment (${nameOf(code)}).`,
    )
  }
}
