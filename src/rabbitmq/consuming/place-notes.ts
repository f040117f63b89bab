import { linesQueueOf, type RabbitMQNames } from '../client/names.ts'
import { UnroutableError } from '../errors.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import { publishedRecord } from './line-queue.ts'
import { partitionOfPlace, recordOf } from './line-records.ts'

/** Informs the consumers of a group about dead letters behind which messages wait. Any process may do so. */
export class RabbitMQPlaceNotes {
  readonly isUsed: boolean
  readonly #publisher: RabbitMQPublisher

  constructor(options: ResolvedRabbitMQOptions, publisher: RabbitMQPublisher) {
    this.isUsed = options.singleActiveConsumer
    this.#publisher = publisher
  }

  /** Lets the messages behind a dead letter follow. @param ids - of its places. */
  async end(ids: Iterable<string>, names: RabbitMQNames): Promise<void> {
    await Promise.all([...ids].map((id) => this.#send(id, names, recordOf('end', { id }))))
  }

  /** Notes that a dead letter was replayed: its places are kept, although it is no longer a dead letter. */
  async replayed(ids: Iterable<string>, names: RabbitMQNames): Promise<void> {
    await Promise.all([...ids].map((id) => this.#send(id, names, recordOf('replayed', { id }))))
  }

  async #send(id: string, names: RabbitMQNames, record: ReturnType<typeof recordOf>): Promise<void> {
    const partition = partitionOfPlace(id)
    if (partition === undefined) return
    const queue = linesQueueOf(names, partition ?? undefined)
    try {
      await this.#publisher.publishRaw(publishedRecord(queue, record))
    } catch (error) {
      // Without the queue, nothing waits.
      if (!(error instanceof UnroutableError)) throw error
    }
  }
}
