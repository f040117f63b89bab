import type { Intake } from '../../transport/transport.ts'
import type { RabbitMQAttemptMarks } from './attempt-marks.ts'
import type { ConsumerChannel } from './consumer-channel.ts'
import type { PrefetchWindow } from './prefetch-window.ts'
import type { SurplusMessages } from './surplus-messages.ts'

export interface ReplacedConsumerParts {
  readonly window: PrefetchWindow
  readonly surplus: SurplusMessages
  readonly marks: RabbitMQAttemptMarks
  readonly intake: Pick<Intake, 'whenRoom'>
  /** The channel of the consumer; undefined if there is none, or if it has stopped. */
  readonly channel: () => ConsumerChannel | undefined
  /** Starts a consumer with the prefetch of the window. */
  readonly consumeFrom: (channel: ConsumerChannel) => Promise<void>
  readonly failed: (channel: ConsumerChannel, error: unknown) => void
  /** Runs work that no caller awaits. */
  readonly runInBackground: (work: Promise<unknown>) => void
}

/** Replaces the consumer on a channel by one whose messages fit into the memory; see {@link PrefetchWindow}. */
export class ReplacedConsumer {
  readonly #parts: ReplacedConsumerParts
  #isReplacing = false

  constructor(parts: ReplacedConsumerParts) {
    this.#parts = parts
  }

  /** No-op while the consumer is being replaced. */
  replace(): void {
    const { runInBackground, failed, surplus } = this.#parts
    const channel = this.#parts.channel()
    if (channel === undefined || this.#isReplacing) return
    this.#isReplacing = true
    runInBackground(
      this.#replaceOn(channel)
        .catch((error: unknown) => failed(channel, error))
        .finally(() => {
          this.#isReplacing = false
          // The new consumer may have got too much before this turn.
          if (surplus.isOpen) this.replace()
        }),
    )
  }

  /** Returns messages that do not fit to the queue. */
  async #replaceOn(channel: ConsumerChannel): Promise<void> {
    const { window, surplus, marks, intake, consumeFrom } = this.#parts
    if (window.replacement === 'overlapping') return this.#overlap(channel)
    const isCurrent = () => this.#parts.channel() === channel
    // An acknowledgment would make the broker send a message to the consumer that is being cancelled.
    if (window.replacement === 'full') channel.acks.hold()
    // From here on nothing arrives, so the messages that are returned come again in their order.
    await channel.stopConsuming()
    channel.acks.resume()
    await marks.writeReturned(surplus.marks)
    if (!isCurrent()) return
    channel.acks.requeue(surplus.take())
    await intake.whenRoom()
    if (!isCurrent()) return
    surplus.close()
    window.adjust()
    await consumeFrom(channel)
  }

  async #overlap(channel: ConsumerChannel): Promise<void> {
    const { window, consumeFrom } = this.#parts
    const last = channel.consumerTag
    window.adjust()
    await consumeFrom(channel)
    await channel.stopConsuming(last)
  }
}
