import type { DeadLetterReason } from '../../transport/transport.ts'
import type { AmqpMessage } from '../client/client.ts'
import type { WithChannel } from '../client/connection.ts'
import type { RabbitMQTopology } from '../client/topology.ts'
import type { ResolvedRabbitMQOptions } from '../options.ts'
import type { RabbitMQPublisher } from '../publishing/publisher.ts'
import { deadLetterOf } from './dead-letter-message.ts'

export interface DeadLetteringParts {
  readonly options: ResolvedRabbitMQOptions
  readonly publisher: RabbitMQPublisher
  readonly topology: RabbitMQTopology
  readonly withChannel: WithChannel
}

/**
 * Resolves when the dead letter is safe.
 * @param places - behind which later messages wait, by the names of the handlers.
 */
export async function storeDeadLetter(
  { options, publisher, topology, withChannel }: DeadLetteringParts,
  message: AmqpMessage,
  reason: DeadLetterReason,
  places: ReadonlyMap<string, string>,
): Promise<void> {
  const letter = deadLetterOf(options.names, message, { ...reason, places })
  try {
    await publisher.publishRaw(letter)
  } catch {
    // The exchange or the queue may have been deleted. The caller handles a second failure.
    await withChannel((channel) => topology.declareDeadLetters(channel))
    await publisher.publishRaw(letter)
  }
}
