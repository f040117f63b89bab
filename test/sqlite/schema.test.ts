import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { StoreSchemaError } from '../../src/index.ts'
import { sqliteMigrationSql } from '../../src/sqlite/index.ts'
import { paced } from '../support/pace.ts'
import { appendNotes, withFile } from './sqlite-scene.ts'

const OPENER = fileURLToPath(new URL('./opener-program.ts', import.meta.url))

it('migrates a file to the schema of this release, and does not change the tables of the user', async () => {
  await using scene = withFile()
  const own = new DatabaseSync(scene.file)
  own.exec("create table accounts (id text) strict; insert into accounts values ('a')")
  const stores = scene.open()
  await appendNotes(stores, 1)

  expect(own.prepare('select id from accounts').all()).toEqual([{ id: 'a' }])
  expect(own.prepare('select version from eventspine_migrations').all()).toEqual([
    { version: 1 },
    { version: 2 },
    { version: 3 },
  ])
  own.close()
})

it(
  'migrates once if several processes open a new file at the same time',
  async () => {
    await using scene = withFile()
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, [OPENER, scene.file], { stdio: ['ignore', 'pipe', 'inherit'] }),
    )
    const outputs = await Promise.all(
      children.map(async (child) => {
        let output = ''
        child.stdout.on('data', (chunk: Buffer) => {
          output += String(chunk)
        })
        await once(child, 'close')
        return output.trim()
      }),
    )

    expect(new Set(outputs)).toEqual(new Set([await scene.open().events.identity()]))
    expect(
      new DatabaseSync(scene.file).prepare('select count(*) as n from eventspine_migrations').get(),
    ).toEqual({
      n: 3,
    })
  },
  paced(60_000),
)

it('accepts a file whose schema was created manually from the SQL that it prints', async () => {
  await using scene = withFile()
  const own = new DatabaseSync(scene.file)
  own.exec(sqliteMigrationSql())
  own.close()
  const stores = scene.open({ migrate: 'check' })

  await appendNotes(stores, 2)
  expect(await stores.events.headPosition()).toBe(2)
  expect(sqliteMigrationSql(1)).not.toContain('eventspine_events')
})

it('refuses a file without the schema if it only checks, with both versions and the remedy', async () => {
  await using scene = withFile()
  const stores = scene.open({ migrate: 'check' })

  await expect(stores.ready()).rejects.toThrow(StoreSchemaError)
  await expect(stores.ready()).rejects.toThrow(
    /has schema version 0, this release of eventspine needs 3\. Open it once/,
  )
  await scene.open().ready()
  await stores.ready()
})

it.each(['run', 'check'] as const)(
  'refuses a file of a newer release with both versions (migrate: %s)',
  async (migrate) => {
    await using scene = withFile()
    await scene.open().ready()
    const own = new DatabaseSync(scene.file)
    own.exec("insert into eventspine_migrations values (7, 'of the future', '', 0)")
    own.close()

    const error = await scene
      .open({ migrate })
      .ready()
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'STORE_SCHEMA', found: 7, needed: 3 })
    expect(String(error)).toContain('Update eventspine')
  },
)

it('does not check the schema if configured not to', async () => {
  await using scene = withFile()
  await scene.open({ migrate: 'off' }).ready()

  expect(new DatabaseSync(scene.file).prepare('select * from sqlite_schema').all()).toEqual([])
})

it('refuses a file that is not a database, and does not change it', async () => {
  await using scene = withFile()
  writeFileSync(scene.file, 'Dear diary, today I learned about SQLite. '.repeat(100))
  const before = readFileSync(scene.file)
  const stores = scene.open()

  await expect(stores.ready()).rejects.toMatchObject({ code: 'SQLITE_CORRUPT' })
  await expect(stores.events.headPosition()).rejects.toThrow(scene.file)
  expect(readFileSync(scene.file)).toEqual(before)
  expect((await stores.events.health()).status).toBe('down')
})
