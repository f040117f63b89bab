import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, closeSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { SqliteStores } from '../../src/sqlite/index.ts'
import { waitFor } from '../../src/testing/index.ts'
import { itUnless } from '../support/left-out.ts'
import { paced } from '../support/pace.ts'
import { obstacleToMounting, SmallDisk } from '../support/small-disk.ts'
import { appendNotes, appendTo, Noted, numbers, withFile } from './sqlite-scene.ts'

const OPENER = fileURLToPath(new URL('./failing-program.ts', import.meta.url))

describe.each([true, false])('a file that another process has locked (worker: %s)', (worker) => {
  it('is waited for without blocking, then reported with the file name, and the write succeeds when the lock is free again', async () => {
    await using scene = withFile()
    const stores = scene.open({ worker, busyTimeoutMs: 300 })
    await appendNotes(stores, 1)
    const other = new DatabaseSync(scene.file)
    other.exec('begin immediate')
    let turns = 0
    const timer = setInterval(() => {
      turns += 1
    }, 1)
    const error = await appendNotes(stores, 1, 1).catch((thrown: unknown) => thrown)
    clearInterval(timer)

    expect(error).toMatchObject({ code: 'SQLITE_LOCKED', retryable: true })
    expect(String(error)).toContain(scene.file)
    expect(turns, 'turns of the event loop meanwhile').toBeGreaterThan(20)
    expect((await stores.events.readPage()).events).toHaveLength(1)
    await expect(stores.transaction(async () => undefined)).rejects.toMatchObject({ code: 'SQLITE_LOCKED' })
    other.exec('rollback')
    await appendNotes(stores, 1, 1)
    other.close()
  })

  it('allows the write as soon as the lock is released in time', async () => {
    await using scene = withFile()
    const stores = scene.open({ worker })
    await stores.ready()
    const other = new DatabaseSync(scene.file)
    other.exec('begin immediate')
    const appends = Promise.all(
      numbers(0, 20).map((n) => appendTo(stores.events, new Noted({ aggregateId: 'a', n }))),
    )
    setTimeout(() => other.exec('commit'), 100)

    await appends
    expect((await stores.events.getEvents('a')).version).toBe(20)
    other.close()
  })
})

it('reports a full disk, stores no append partially, and continues when there is space', async () => {
  await using scene = withFile()
  const stores = scene.open()
  await appendNotes(stores, 1)
  const limitPages = (limit: number) =>
    stores.transaction(async ({ client }) => void client.prepare(`pragma max_page_count = ${limit}`).get())
  const appendMuch = () =>
    stores.transaction(async (tx) => {
      const events = numbers(0, 3000).map((n) => new Noted({ aggregateId: 'much', n }))
      await tx.events.appendEvents({
        aggregateId: 'much',
        aggregateType: 'Note',
        events,
        expectedVersion: 'any',
      })
    })
  await limitPages(60)

  await expect(appendMuch()).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true })
  expect((await stores.events.getEvents('much')).version).toBe(0)
  await limitPages(1_000_000)
  await appendMuch()
  expect((await stores.events.getEvents('much')).version).toBe(3000)
})

for (const worker of [true, false])
  itUnless(
    obstacleToMounting,
    `stores no append partially on a full disk, and continues when there is space (worker: ${worker})`,
    async () => {
      await using disk = await SmallDisk.mount(16)
      await using stores = new SqliteStores({ file: join(disk.folder, 'events.db'), worker, events: [Noted] })
      await appendNotes(stores, 10)
      await disk.fill(100_000)
      const events = numbers(0, 3000).map((n) => new Noted({ aggregateId: 'much', n }))
      const stream = { aggregateId: 'much', aggregateType: 'Note', expectedVersion: 0 }
      const appendMuch = () => stores.events.appendEvents({ ...stream, events })

      await expect(appendMuch()).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true })
      expect((await stores.events.getEvents('much')).version).toBe(0)
      expect((await stores.events.readPage()).events).toHaveLength(10)
      await disk.makeRoom()
      expect((await appendMuch()).newVersion).toBe(3000)
    },
  )

describe('a damaged file', () => {
  async function damaged(file: string, stores: { readonly close: () => Promise<void> }): Promise<void> {
    await stores.close()
    const handle = openSync(file, 'r+')
    const pages = statSync(file).size / 4096
    for (let page = Math.floor(pages / 3); page < pages; page += 1)
      writeSync(handle, 'x'.repeat(4096), page * 4096)
    closeSync(handle)
  }

  it('is refused at the start if its integrity is checked', async () => {
    await using scene = withFile()
    const stores = scene.open()
    await appendNotes(stores, 100)
    await damaged(scene.file, stores)

    for (const worker of [true, false]) {
      const checked = scene.open({ checkIntegrity: true, worker })
      await expect(checked.ready()).rejects.toMatchObject({ code: 'SQLITE_CORRUPT' })
    }
  })

  it('is reported with its name when it is read, and health is down', async () => {
    await using scene = withFile()
    const stores = scene.open()
    await appendNotes(stores, 100)
    await damaged(scene.file, stores)
    const reopened = scene.open()

    await expect(reopened.events.readPage()).rejects.toMatchObject({ code: 'SQLITE_CORRUPT' })
    await expect(reopened.events.getEvents('a1')).rejects.toThrow(/Restore it from a backup/)
  })
})

it('reports a file that was removed while it was open', async () => {
  await using scene = withFile()
  const stores = scene.open()
  await appendNotes(stores, 1)
  expect((await stores.events.health()).status).toBe('up')
  rmSync(scene.file)

  const health = await stores.events.health()
  expect(health.status).toBe('down')
  expect(health.problems.join()).toContain('removed or replaced')
})

it(
  'reports the name of a read-only file to a process without write permission',
  async () => {
    await using scene = withFile()
    const stores = scene.open()
    await appendNotes(stores, 1)
    await stores.close()
    for (const [path, mode] of [
      [scene.file, 0o444],
      [dirname(scene.file), 0o555],
    ] as const)
      chmodSync(path, mode)
    // Permissions do not apply to root, so the process runs as another user in that case.
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const child = spawn(process.execPath, [OPENER, scene.file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...user,
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += String(chunk)
      })
    }
    await once(child, 'close')
    chmodSync(dirname(scene.file), 0o755)

    expect(output.trim()).toMatch(/^(STORE_READ_ONLY|STORE_UNAVAILABLE) .*events\.db/)
  },
  paced(20_000),
)

it('detects the commit of another process within milliseconds', async () => {
  await using scene = withFile()
  const stores = scene.open({ watchIntervalMs: 1 })
  await stores.ready()
  let wakeUps = 0
  const end = stores.events.onAppend(() => {
    wakeUps += 1
  })
  const other = scene.open()
  await appendNotes(other, 1)

  await waitFor(() => wakeUps > 0, { intervalMs: 1 })
  end()
  await appendNotes(other, 1, 1)
  const ended = wakeUps
  await stores.events.headPosition()
  expect(wakeUps).toBe(ended)
})
