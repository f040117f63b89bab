import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  type AppendResult,
  type DomainEvent,
  defineEvent,
  type EventClass,
  type StreamStore,
} from '../../src/index.ts'
import { SqliteStores, type SqliteStoresOptions } from '../../src/sqlite/index.ts'
import { dataFolder } from '../brokers/data-folder.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

/** Which file stores are of. */
const files = new WeakMap<SqliteStores, string>()

export function fileOf(stores: SqliteStores): string {
  return files.get(stores) ?? ''
}

function open(file: string, options: Partial<SqliteStoresOptions> = {}): SqliteStores {
  const stores = new SqliteStores({ file, ...options })
  files.set(stores, file)
  return stores
}

/** A path in a fresh folder. */
function freshFile(): string {
  return join(mkdtempSync(join(dataFolder, 'eventspine-sqlite-')), 'events.db')
}

function removeFolderOf(file: string): void {
  rmSync(join(file, '..'), { recursive: true, force: true })
}

/** Hooks of the conformance suites for files that are opened with these options. */
export const suiteHooks = (options: Partial<SqliteStoresOptions>) => ({
  create: (events: readonly EventClass[]) => open(freshFile(), { events, ...options }),
  another: (stores: SqliteStores) => open(fileOf(stores), { ...options }),
  cleanUp: (stores: SqliteStores) => removeFolderOf(fileOf(stores)),
})

/** A fresh file, and stores on it that are closed with it. */
export function withFile() {
  const file = freshFile()
  const opened: SqliteStores[] = []
  return {
    file,
    open(options: Partial<SqliteStoresOptions> = {}) {
      const stores = open(file, { worker: false, events: [Noted], logger: new RecordingLogger(), ...options })
      opened.push(stores)
      return stores
    },
    async [Symbol.asyncDispose]() {
      for (const stores of opened) await stores.close()
      removeFolderOf(file)
    },
  }
}

export class Noted extends defineEvent<{ readonly n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}

export const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => from + index)

/** Appends notes one by one, to streams by turns. @returns their events. */
export async function appendNotes(
  stores: Pick<SqliteStores, 'events'>,
  count: number,
  from = 0,
): Promise<readonly Noted[]> {
  const notes = numbers(from, from + count).map((n) => new Noted({ aggregateId: `a${n % 3}`, n }))
  for (const note of notes) await appendTo(stores.events, note)
  return notes
}

export function appendTo(events: StreamStore, event: DomainEvent): Promise<AppendResult> {
  const { aggregateId, aggregateType } = event
  return events.appendEvents({ aggregateId, aggregateType, events: [event], expectedVersion: 'any' })
}
