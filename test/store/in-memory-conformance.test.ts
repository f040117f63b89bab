import { describe, expect, it } from 'vitest'
import { type EventStore, InMemoryEventStore, InMemoryStores } from '../../src/index.ts'
import { describeEventStore, describeStores } from '../../src/testing/index.ts'

describeStores('InMemoryStores', {
  runner: { describe, it },
  create: () => new InMemoryStores(),
  lacks: {
    concurrentTransactions: 'transactions run one after the other',
    writerProcesses: 'memory ends with its process',
  },
})

const opened = new Set<EventStore>()

/** Several objects on one store, as several processes would have them. */
describeEventStore('InMemoryEventStore, seen through several objects', {
  runner: { describe, it },
  create: () => new InMemoryEventStore(),
  another: (store) => {
    const another = new Proxy(store, {
      get(target, key) {
        const member: unknown = Reflect.get(target, key)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
    opened.add(another)
    return another
  },
  close: (store) => void opened.delete(store),
  writers: 10,
})

it('closes every store object that a test opened', () => {
  expect(opened.size).toBe(0)
})
