import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EventClass } from '../../src/index.ts'
import { SqliteStores, type SqliteStoresOptions } from '../../src/sqlite/index.ts'

/** Which file stores are of. */
const files = new WeakMap<SqliteStores, string>()

export function fileOf(stores: SqliteStores): string {
  return files.get(stores) ?? ''
}

export function open(file: string, options: Partial<SqliteStoresOptions> = {}): SqliteStores {
  const stores = new SqliteStores({ file, ...options })
  files.set(stores, file)
  return stores
}

/** A path in a fresh folder. */
export function freshFile(): string {
  return join(mkdtempSync(join(tmpdir(), 'eventspine-sqlite-')), 'events.db')
}

export function removeFolderOf(file: string): void {
  rmSync(join(file, '..'), { recursive: true, force: true })
}

/** Hooks of the conformance suites for files that are opened with these options. */
export const suiteHooks = (options: Partial<SqliteStoresOptions>) => ({
  create: (events: readonly EventClass[]) => open(freshFile(), { events, ...options }),
  another: (stores: SqliteStores) => open(fileOf(stores), { ...options }),
  cleanUp: (stores: SqliteStores) => removeFolderOf(fileOf(stores)),
})
