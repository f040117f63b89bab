import { ConnectionError } from '../../transport/errors.ts'
import { CODE, isPassing, nameOf, refusal } from '../errors.ts'
import type { ConnectionUse } from './broker-connection.ts'
import type { KafkaCluster, PickApi } from './cluster.ts'

/** Type of a coordinator key: a consumer group. */
const GROUP = 0

/** The broker that coordinates a group. It is found again when it moves. */
export class KafkaCoordinator {
  readonly #cluster: KafkaCluster
  readonly #group: string
  #node: number | undefined
  /** The broker that got the last request of each use, which may still wait there. */
  readonly #lastNode = new Map<ConnectionUse, number>()

  constructor(cluster: KafkaCluster, group: string) {
    this.#cluster = cluster
    this.#group = group
  }

  /** Sends a request to the coordinator. @throws ConnectionError if there is none or it does not answer. */
  async request<Args extends readonly unknown[], T>(
    use: ConnectionUse,
    pick: PickApi<Args, T>,
    args: Args,
    timeoutMs?: number,
  ): Promise<T> {
    const node = this.#node ?? (await this.#find())
    try {
      this.#lastNode.set(use, node)
      return await this.#cluster.request(node, use, pick, args, timeoutMs)
    } catch (error) {
      this.#node = undefined
      throw error
    }
  }

  /**
   * Finds the coordinator again before the next request, if the code of a response means that the coordinator has
   * moved.
   */
  invalidateOn(code: number): void {
    if (code === CODE.NOT_COORDINATOR || code === CODE.COORDINATOR_NOT_AVAILABLE) this.#node = undefined
  }

  /** Cuts the connection of a request that waits at the coordinator. */
  async cut(use: ConnectionUse): Promise<void> {
    this.#node = undefined
    const node = this.#lastNode.get(use)
    if (node !== undefined) await this.#cluster.cut(node, use)
  }

  async #find(): Promise<number> {
    const answer = await this.#cluster.request(
      undefined,
      'control',
      ({ findCoordinator }) => findCoordinator,
      [GROUP, [this.#group]],
    )
    const found = answer.coordinators[0]
    const code = found?.errorCode ?? CODE.COORDINATOR_NOT_AVAILABLE
    if (found !== undefined && code === CODE.NONE) {
      // The broker may be newer than the known metadata.
      if (!this.#cluster.brokerIds.includes(found.nodeId)) await this.#cluster.metadata([])
      this.#node = found.nodeId
      return found.nodeId
    }
    const action = `Finding the group ${this.#group}`
    if (!isPassing(code)) throw refusal(this.#cluster.address, action, code, found?.errorMessage)
    throw new ConnectionError(
      'CONNECTION_FAILED',
      `The group ${this.#group} has no coordinator at present (${nameOf(code)}).`,
    )
  }
}
