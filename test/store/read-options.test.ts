import { expect, it } from 'vitest'
import { InMemoryEventStore, InMemoryStores } from '../../src/index.ts'

it.each([
  ['InMemoryEventStore', (options: never) => new InMemoryEventStore(options)],
  ['InMemoryStores', (options: never) => new InMemoryStores(options)],
  ['stores.projection', (options: never) => new InMemoryStores().projection(options)],
])('%s refuses a misspelt option', (_name, create) => {
  const given = { name: 'totals', handlers: [], Now: () => new Date() }
  expect(() => create(given as never)).toThrow(/Now is not an option/)
})

it('a projection refuses what would be ignored', () => {
  const { projection } = new InMemoryStores()
  const create = (options: object) => () => projection.call(new InMemoryStores(), options as never)
  expect(create({ name: 'totals', handlers: [], transactionPer: 'page' })).toThrow(/transactionPer must be/)
  expect(create({ handlers: [] })).toThrow(/name is required/)
})
