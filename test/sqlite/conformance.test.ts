import { describe, it } from 'vitest'
import type { SqliteStores } from '../../src/sqlite/index.ts'
import { describeStores } from '../../src/testing/index.ts'
import { paced } from '../support/pace.ts'
import { fileOf, suiteHooks } from './sqlite-scene.ts'
import { startWriter } from './writers.ts'

const common = {
  runner: { describe, it },
  startWriter: (stores: SqliteStores) => startWriter(fileOf(stores)),
  lacks: { concurrentTransactions: 'SQLite has one writer at a time' },
  writers: 20,
  timeoutMs: paced(30_000),
}

describeStores('SqliteStores, in a worker', { ...common, ...suiteHooks({ durability: 'normal' }) })

describeStores('SqliteStores, on the main thread', {
  ...common,
  ...suiteHooks({ worker: false, durability: 'normal' }),
})

describeStores('SqliteStores, with better-sqlite3', {
  ...common,
  ...suiteHooks({ driver: 'better-sqlite3', durability: 'normal' }),
})
