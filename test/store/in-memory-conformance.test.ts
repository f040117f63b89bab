import { describe, expect, it } from 'vitest'
import { type EventStore, InMemoryEventStore } from '../../src/index.ts'
import { describeEventStore } from '../../src/testing/index.ts'

describeEventStore('InMemoryEventStore', {
  runner: { describe, it },
  create: () => new InMemoryEventStore(),
})

const opened = new Set<EventStore>()

/** Several objects on one store, as several processes would have them. */
describeEventStore('InMemoryEventStore, seen through several objects', {
  runner: { describe, it },
  create: () => new InMemoryEventStore(),
  another: (store) => {
    const another: EventStore = Object.create(store, {})
    for (const name of ['appendEvents', 'getEvents', 'readAll', 'readPage', 'headPosition'] as const) {
      Object.defineProperty(another, name, { value: store[name].bind(store) })
    }
    opened.add(another)
    return another
  },
  close: (store) => void opened.delete(store),
  writers: 10,
})

it('closes every store object that a test opened', () => {
  expect(opened.size).toBe(0)
})
