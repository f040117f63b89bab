import type { KafkaCluster } from '../client/cluster.ts'
import { CODE, isPassing, nameOf, refusal } from '../errors.ts'
import type { ProducerIdentity } from './partition-queue.ts'

/** Obtains the identity by which the brokers recognize the batches of an idempotent producer. */
export class IdentityProvider {
  readonly #cluster: KafkaCluster
  #current: ProducerIdentity | undefined
  #requesting: Promise<void> | undefined

  constructor(cluster: KafkaCluster) {
    this.#cluster = cluster
  }

  /** Undefined until `obtain` succeeds, and after `forget`. */
  get current(): ProducerIdentity | undefined {
    return this.#current
  }

  /** Makes the next `obtain` request a new identity. */
  forget(): void {
    this.#current = undefined
  }

  /** Concurrent callers share one request. @throws Error if a broker did not give an identity. */
  async obtain(): Promise<void> {
    if (this.#current !== undefined) return
    this.#requesting ??= this.#request().finally(() => {
      this.#requesting = undefined
    })
    await this.#requesting
  }

  async #request(): Promise<void> {
    const answer = await this.#cluster.request(undefined, 'control', ({ initProducerId }) => initProducerId, [
      null,
      0,
    ])
    if (answer.errorCode === CODE.NONE) {
      this.#current = { producerId: answer.producerId, producerEpoch: answer.producerEpoch }
      return
    }
    if (isPassing(answer.errorCode)) throw new Error(nameOf(answer.errorCode))
    throw refusal(this.#cluster.address, 'Registering as an idempotent producer', answer.errorCode)
  }
}
