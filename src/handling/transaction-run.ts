import type { HandlerContext } from './event-handler.ts'

/** The context of one attempt in a transaction. The signal is created when it is first read. */
export class TransactionRun<Tx> implements HandlerContext {
  readonly tx: Tx
  readonly idempotencyKey: string
  readonly #context: HandlerContext

  constructor(context: HandlerContext, tx: Tx, idempotencyKey: string) {
    this.#context = context
    this.tx = tx
    this.idempotencyKey = idempotencyKey
  }

  get signal(): AbortSignal {
    return this.#context.signal
  }

  get attempt(): number {
    return this.#context.attempt
  }

  get deliveryCount(): number {
    return this.#context.deliveryCount
  }

  get consumerGroup(): string | undefined {
    return this.#context.consumerGroup
  }

  get messageId(): string | undefined {
    return this.#context.messageId
  }
}
