import { describe, inject, it } from 'vitest'
import type { PostgresStores, PostgresStoresOptions } from '../../src/postgres/index.ts'
import { describeStores } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { dropSchema, freshSchema, openStores } from './postgres-scene.ts'
import { startWriter } from './writer-process.ts'

const opened = new WeakMap<PostgresStores, PostgresStoresOptions>()

function open(options: PostgresStoresOptions): PostgresStores {
  const stores = openStores(options)
  opened.set(stores, options)
  return stores
}

const schemaOf = (stores: PostgresStores): string => opened.get(stores)?.schema ?? ''

describe.each([
  ['concurrent appends', { order: 'concurrent' }],
  ['serialized appends', { order: 'serialized', prepare: false }],
] as const)('PostgreSQL, %s', (name, options) => {
  describeStores(name, {
    runner: { describe, it },
    create: (events) => open({ ...options, events, schema: freshSchema() }),
    another: (stores) => open({ ...opened.get(stores), poolSize: 2 }),
    startWriter: (stores) => startWriter(inject('postgresUrl'), schemaOf(stores)),
    cleanUp: (stores) => dropSchema(schemaOf(stores)),
    timeoutMs: paced(120_000),
    ...(options.order === 'serialized' && {
      lacks: { concurrentTransactions: 'an append waits for the commit of the one before' },
    }),
  })
})
