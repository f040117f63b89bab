import type { DomainEvent } from '../events/index.ts'
import { numbered } from '../store/append-rules.ts'
import type {
  AppendRequest,
  AppendResult,
  EventStream,
  GetEventsOptions,
  StreamName,
  StreamStore,
} from '../store/index.ts'

/** The streams of a transaction whose appended events are also projected. */
export class InlineStreams implements StreamStore {
  readonly #streams: StreamStore
  readonly #project: (event: DomainEvent) => Promise<void>

  constructor(streams: StreamStore, project: (event: DomainEvent) => Promise<void>) {
    this.#streams = streams
    this.#project = project
  }

  async appendEvents(request: AppendRequest): Promise<AppendResult> {
    const result = await this.#streams.appendEvents(request)
    // The handlers get the events with the versions that the store has given them.
    const firstVersion = result.newVersion - request.events.length + 1
    for (const [index, event] of request.events.entries()) {
      await this.#project(numbered(event, firstVersion + index))
    }
    return result
  }

  getEvents(aggregateId: string, options?: GetEventsOptions): Promise<EventStream> {
    return this.#streams.getEvents(aggregateId, options)
  }

  eventExists(eventId: string): Promise<boolean> {
    return this.#streams.eventExists(eventId)
  }

  deleteStream(stream: StreamName): Promise<AppendResult> {
    return this.#streams.deleteStream(stream)
  }

  registerEvents(...classes: Parameters<StreamStore['registerEvents']>): void {
    this.#streams.registerEvents(...classes)
  }
}
