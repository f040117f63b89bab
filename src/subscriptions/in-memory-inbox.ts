import type { MemoryTable } from '../store/memory-table.ts'
import { PRUNE_BATCH } from './inbox.ts'
import type { InboxTransaction } from './store-transaction.ts'

/** A record that a handler has handled an event. */
export interface InboxNote {
  readonly key: string
  readonly notedAt: Date
}

/** The inbox records of `InMemoryStores`, or of one of their transactions. */
export class InMemoryInboxNotes implements InboxTransaction {
  readonly #notes: MemoryTable<InboxNote>

  constructor(notes: MemoryTable<InboxNote>) {
    this.#notes = notes
  }

  async add(handlerName: string, eventId: string): Promise<boolean> {
    const key = keyOf(handlerName, eventId)
    if (this.#notes.get(key) !== undefined) return false
    this.#notes.set(key, { key, notedAt: new Date() })
    return true
  }

  async has(handlerName: string, eventId: string): Promise<boolean> {
    return this.#notes.get(keyOf(handlerName, eventId)) !== undefined
  }

  async pruneSome(notedBefore: Date): Promise<number> {
    const old = this.#notes.rows().filter(({ notedAt }) => notedAt < notedBefore)
    const some = old.slice(0, PRUNE_BATCH)
    for (const { key } of some) this.#notes.delete(key)
    return some.length
  }
}

const keyOf = (handlerName: string, eventId: string): string => JSON.stringify([handlerName, eventId])
