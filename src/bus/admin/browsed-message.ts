import { type BrowsedEvent, HEADERS } from '../../browsing/index.ts'
import type { EventClassLookup, EventCodec } from '../../codec/index.ts'
import type { DomainEvent } from '../../events/index.ts'
import type { MessageScan, ScannedMessage } from '../../transport/admin.ts'

/** How a bus reads messages. */
export interface MessageReader {
  readonly codec: EventCodec
  readonly classFor: EventClassLookup
}

/**
 * A message of the log, decoded on access: a search discards most of them. Its headers answer without decoding the event, as
 * far as the broker stores them.
 */
export class BrowsedMessage implements BrowsedEvent {
  readonly scanned: ScannedMessage
  readonly #reader: MessageReader
  #headers: Readonly<Record<string, string>> | undefined
  #body: Uint8Array | undefined
  #event: { readonly decoded: DomainEvent | undefined } | undefined

  constructor(scanned: ScannedMessage, reader: MessageReader) {
    this.scanned = scanned
    this.#reader = reader
  }

  get position(): string {
    return this.scanned.position
  }

  get partition(): number | undefined {
    return this.scanned.partition
  }

  get storedAt(): Date | undefined {
    return this.scanned.storedAt
  }

  get headers(): Readonly<Record<string, string>> {
    this.#headers ??= this.scanned.message.headers
    return this.#headers
  }

  get body(): Uint8Array {
    this.#body ??= bytesOf(this.scanned.message.body)
    return this.#body
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
    const { headers } = this
    try {
      return codec.decode({ headers, body: this.scanned.message.body }, classFor)
    } catch {
      // Any producer can write a message that is not an event.
      return undefined
    }
  }
}

function bytesOf(body: string | Uint8Array): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body) : body
}

/** The messages of a scan as events. */
export async function* readPages(
  pages: MessageScan['pages'],
  reader: MessageReader,
): AsyncGenerator<readonly BrowsedEvent[]> {
  for await (const page of pages) yield page.map((message) => new BrowsedMessage(message, reader))
}
