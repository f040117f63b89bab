import type { AmqpMessage } from '../client/client.ts'
import type { MarkedMessage } from './attempt-marks.ts'
import { isRedelivered, type RabbitMQDelivery } from './delivery.ts'

/** The unsettled messages of a consumption: those in the pipeline, and those that arrived after the stop. */
export class HeldMessages {
  readonly #deliveries = new Set<RabbitMQDelivery>()
  /** Only first deliveries: a redelivered message keeps the mark that it has. */
  #undelivered: readonly AmqpMessage[] = []

  add(delivery: RabbitMQDelivery): void {
    this.#deliveries.add(delivery)
  }

  settle(delivery: RabbitMQDelivery): void {
    this.#deliveries.delete(delivery)
  }

  addUndelivered(messages: readonly AmqpMessage[]): void {
    this.#undelivered = [...this.#undelivered, ...messages.filter((message) => !isRedelivered(message))]
  }

  /** True while a handler runs for one of the messages, or its outcome is being written. */
  get isBusy(): boolean {
    return [...this.#deliveries].some(({ isBusy }) => isBusy)
  }

  clear(): void {
    this.#deliveries.clear()
    this.#undelivered = []
  }

  /** The marks that keep a return to the queue from counting as an attempt. */
  returnMarks(): readonly MarkedMessage[] {
    return [
      ...[...this.#deliveries].flatMap((delivery) => delivery.returnMark() ?? []),
      ...this.#undelivered.map((message) => ({ message, mark: { attempts: 0, settledHandlers: [] } })),
    ]
  }
}
