import type { RunInfo } from '../../handling/handler-run.ts'
import type { EventSpan } from '../../observability/tracer.ts'
import type { Delivery } from '../../transport/transport.ts'

interface Consumer {
  readonly consumerGroup: string
  readonly abandoned: AbortSignal
}

/** What the handlers of a delivery have in common. Reads the id of the message on access: most handlers do not need it. */
export class DeliveryRun implements RunInfo {
  readonly attempt: number
  readonly span: EventSpan | undefined
  readonly #delivery: Delivery
  readonly #consumer: Consumer

  constructor(delivery: Delivery, attempt: number, consumer: Consumer, span: EventSpan | undefined) {
    this.attempt = attempt
    this.span = span
    this.#delivery = delivery
    this.#consumer = consumer
  }

  get deliveryCount(): number {
    return this.#delivery.deliveryCount
  }

  get consumerGroup(): string {
    return this.#consumer.consumerGroup
  }

  get messageId(): string {
    return this.#delivery.message.id
  }

  get busSignal(): AbortSignal {
    return this.#consumer.abandoned
  }
}
