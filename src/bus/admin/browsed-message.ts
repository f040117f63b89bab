import { type BrowsedEvent, HEADERS } from '../../browsing/index.ts'
import type { EventClassLookup, EventCodec } from '../../codec/index.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { MessageScan, ScannedMessage } from '../../transport/admin.ts'

/** How a bus reads messages. */
export interface MessageReader {
  readonly codec: EventCodec
  readonly classFor: EventClassLookup
}

/** A message of the log. Its headers answer without decoding it, as far as the broker stores them. */
export class BrowsedMessage implements BrowsedEvent {
  readonly position: string
  readonly partition: number | undefined
  readonly storedAt: Date | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly scanned: ScannedMessage
  readonly #reader: MessageReader
  #event: { readonly decoded: DomainEvent | undefined } | undefined

  constructor(scanned: ScannedMessage, reader: MessageReader) {
    const { message, position, partition, storedAt } = scanned
    this.scanned = scanned
    this.position = position
    this.partition = partition
    this.storedAt = storedAt
    this.headers = message.headers
    this.body = typeof message.body === 'string' ? Buffer.from(message.body) : message.body
    this.#reader = reader
  }

  get event(): DomainEvent | undefined {
    this.#event ??= { decoded: this.#decode() }
    return this.#event.decoded
  }

  get eventId(): string | undefined {
    return this.headers[HEADERS.eventId] ?? this.event?.eventId
  }

  get eventType(): string | undefined {
    return this.headers[HEADERS.eventType] ?? this.event?.eventType
  }

  get aggregateId(): string | undefined {
    return this.headers[HEADERS.aggregateId] ?? this.event?.aggregateId
  }

  get aggregateType(): string | undefined {
    return this.headers[HEADERS.aggregateType] ?? this.event?.aggregateType
  }

  get correlationId(): string | undefined {
    return this.headers[HEADERS.correlationId] ?? this.event?.correlationId
  }

  get causationId(): string | undefined {
    return this.headers[HEADERS.causationId] ?? this.event?.causationId
  }

  get tenantId(): string | undefined {
    return this.headers[HEADERS.tenantId] ?? this.event?.tenantId
  }

  get occurredAt(): Date | undefined {
    return this.event?.occurredAt
  }

  #decode(): DomainEvent | undefined {
    const { codec, classFor } = this.#reader
    const { headers, body } = this
    try {
      return codec.decode({ headers, body }, classFor)
    } catch {
      // Any producer can write a message that is not an event.
      return undefined
    }
  }
}

/** The messages of a scan as events. */
export async function* readPages(
  pages: MessageScan['pages'],
  reader: MessageReader,
): AsyncGenerator<readonly BrowsedEvent[]> {
  for await (const page of pages) yield page.map((message) => new BrowsedMessage(message, reader))
}
