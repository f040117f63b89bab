import type { Cause } from '../events/causation.ts'
import type { DomainEvent } from '../events/index.ts'

/** Maximum number of event types that are noted, and of edges: a program can invent types. */
const MAX_NOTED = 1000

/** A handler has published an event of a type while it handled one of another type. */
export interface PublishedEdge {
  readonly eventType: string
  readonly handler: string
  /** Type of the published event. */
  readonly publishes: string
}

/** Notes which event types a bus publishes, and in which handlers. Called for each publish, so its work is small. */
export class PublishedTypes {
  readonly #types = new Set<string>()
  /** By the handler, then by the type that it handles. */
  readonly #edges = new Map<string, Map<string, Set<string>>>()
  #edgeCount = 0
  #last: string | undefined
  /** Called for the first type. */
  onFirst: (() => void) | undefined

  /** @param cause - the event whose handler publishes; undefined outside of handlers. */
  note(events: readonly DomainEvent[], cause: Cause | undefined): void {
    for (const { eventType } of events) {
      if (eventType !== this.#last) this.#add(eventType)
      if (cause?.handlerName !== undefined && cause.eventType !== undefined) {
        this.#addEdge(cause.handlerName, cause.eventType, eventType)
      }
    }
  }

  /** Sorted. */
  get types(): readonly string[] {
    return [...this.#types].toSorted()
  }

  get edges(): readonly PublishedEdge[] {
    return [...this.#edges].flatMap(([handler, byType]) =>
      [...byType].flatMap(([eventType, published]) =>
        [...published].map((publishes) => ({ eventType, handler, publishes })),
      ),
    )
  }

  #add(eventType: string): void {
    this.#last = eventType
    if (this.#types.size >= MAX_NOTED) return
    this.#types.add(eventType)
    if (this.#types.size > 1) return
    this.onFirst?.()
    this.onFirst = undefined
  }

  #addEdge(handler: string, eventType: string, publishes: string): void {
    const published = this.#edges.get(handler)?.get(eventType)
    if (published?.has(publishes) === true || this.#edgeCount >= MAX_NOTED) return
    this.#edgeCount += 1
    if (published !== undefined) {
      published.add(publishes)
      return
    }
    const byType = this.#edges.get(handler) ?? new Map<string, Set<string>>()
    byType.set(eventType, new Set([publishes]))
    this.#edges.set(handler, byType)
  }
}
