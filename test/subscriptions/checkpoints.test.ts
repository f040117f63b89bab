import { mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { CheckpointConflictError, FileCheckpointStore, InMemoryCheckpointStore } from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  append,
  appendOne,
  checkpointAt,
  type Noted,
  noted,
  numbers,
  quick,
  Seen,
  SubscriptionScene,
} from './subscription-scene.ts'

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-checkpoints-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}

describe.each([
  ['InMemoryCheckpointStore', async () => new InMemoryCheckpointStore()],
  ['FileCheckpointStore', async () => new FileCheckpointStore(join(await freshFolder(), 'made', 'here'))],
])('%s', (_name, create) => {
  it('keeps a position for each name, and accepts any name', async () => {
    const store = await create()
    const long = 'x'.repeat(5000)
    const names = ['orders', 'orders/2', '../orders', '.', 'été 🎉', 'ORDERS x', '']
    // Names that no file can have.
    names.push(long, `${long}y`, 'é'.repeat(100), '\ud800', '\ud801', 'a\0b')
    for (const [index, name] of names.entries()) await store.save(name, checkpointAt(index), undefined)

    for (const [index, name] of names.entries()) expect((await store.load(name))?.position).toBe(index)
    expect(await store.load('nobody')).toBeUndefined()
  })

  it('moves from the saved position, and treats a repeated save as a no-op', async () => {
    const store = await create()
    await store.save('a', checkpointAt(5), undefined)
    await store.save('a', checkpointAt(9), 5)
    await store.save('a', checkpointAt(9), 5)
    await store.save('a', checkpointAt(0), 9)

    expect((await store.load('a'))?.position).toBe(0)
  })

  it('refuses to move a checkpoint that another instance has moved', async () => {
    const store = await create()
    await store.save('a', checkpointAt(5), undefined)

    await expect(store.save('a', checkpointAt(6), undefined)).rejects.toThrow(CheckpointConflictError)
    await expect(store.save('a', checkpointAt(9), 7)).rejects.toThrow(
      'The checkpoint of a is at 5, expected 7',
    )
    await expect(store.save('b', checkpointAt(9), 7)).rejects.toThrow(CheckpointConflictError)
    expect((await store.load('a'))?.position).toBe(5)
  })
})

describe('FileCheckpointStore', () => {
  it('leaves no other file behind, and another object can read the checkpoint', async () => {
    const folder = await freshFolder()
    await new FileCheckpointStore(folder).save('a/b', checkpointAt(5), undefined)

    expect(await readdir(folder)).toEqual(['a%2Fb.checkpoint'])
    expect((await new FileCheckpointStore(folder).load('a/b'))?.position).toBe(5)
  })

  it('follows no link at the name of its temporary file, and removes temporary files that a crash left', async () => {
    const folder = await freshFolder()
    const victim = join(await freshFolder(), 'victim')
    await writeFile(victim, 'untouched')
    await symlink(victim, join(folder, 'a.checkpoint.new'))
    await symlink(victim, join(folder, 'a.checkpoint.0123456789abcdef.new'))

    await new FileCheckpointStore(folder).save('a', checkpointAt(5), undefined)

    expect(await readFile(victim, 'utf8')).toBe('untouched')
    expect(await readdir(folder)).toEqual(['a.checkpoint'])
    expect((await new FileCheckpointStore(folder).load('a'))?.position).toBe(5)
  })

  it('flushes the file before it replaces the old one, and the directory after it', async () => {
    const folder = await freshFolder()
    const handle = await open(folder, 'r')
    const prototype = Object.getPrototypeOf(handle)
    await handle.close()
    const calls: string[] = []
    for (const method of ['datasync', 'sync'] as const) {
      vi.spyOn(prototype, method).mockImplementation(
        async () => void calls.push(`${method} ${await readdir(folder)}`),
      )
    }
    onTestFinished(() => void vi.restoreAllMocks())

    await new FileCheckpointStore(folder).save('a', checkpointAt(5), undefined)

    expect(calls).toEqual([
      expect.stringMatching(/^datasync a\.checkpoint\.\w{16}\.new$/),
      'sync a.checkpoint',
    ])
  })

  it('does not accept a damaged file as a position', async () => {
    const folder = await freshFolder()
    for (const text of ['', '  ', 'x', '-1', '1.5', '0x10', '1e3', '+1', ' 1', '1 2', '9'.repeat(17), '٣']) {
      await writeFile(join(folder, 'a.checkpoint'), text)
      await expect(new FileCheckpointStore(folder).load('a')).rejects.toThrow('contains no position')
    }
  })
})

describe('checkpoints of a subscription', () => {
  /** Positions in the order in which they were saved, and what had been handled by then. */
  async function savesOf(options: object) {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 10)
    const seen = new Seen()
    const saves: { readonly position: number; readonly handled: number }[] = []
    const save = scene.checkpoints.save.bind(scene.checkpoints)
    scene.checkpoints.save = async (name, checkpoint, previous) => {
      saves.push({ position: checkpoint.position, handled: seen.numbers.length })
      return save(name, checkpoint, previous)
    }
    const manager = scene.manager()
    manager.subscribe(seen, { checkpointEveryMs: Number.POSITIVE_INFINITY, ...options })
    manager.start()
    await manager.whenCaughtUp('seen')
    return { saves, manager, scene }
  }

  it('is saved after every event, before the next one starts', async () => {
    const { saves, manager } = await savesOf({ checkpointEveryEvents: 1 })
    await manager.stop()

    expect(saves).toEqual(numbers(1, 11).map((position) => ({ position, handled: position })))
  })

  it('is saved after checkpointEveryEvents events, and at the stop', async () => {
    const { saves, manager } = await savesOf({ checkpointEveryEvents: 4 })
    expect(saves.map(({ position }) => position)).toEqual([4, 8])
    await manager.stop()

    expect(saves.map(({ position }) => position)).toEqual([4, 8, 10])
  })

  it('is saved after checkpointEveryMs, even while a later event is being handled', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 3)
    const gate = Promise.withResolvers<void>()
    const manager = scene.manager()
    const handle = ({ n }: Noted) => (n === 2 ? gate.promise : undefined)
    manager.subscribe({ name: 'slow', handle }, { checkpointEveryMs: 5 })
    manager.start()

    await waitFor(async () => (await scene.checkpoints.load('slow'))?.position === 2)
    gate.resolve()
    await waitFor(async () => (await scene.checkpoints.load('slow'))?.position === 3)
  })

  it('that cannot be saved holds back further events, and does not make handled events fail', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 10)
    const save = scene.checkpoints.save.bind(scene.checkpoints)
    let isAway = true
    scene.checkpoints.save = (...args) => (isAway ? Promise.reject(new Error('disk full')) : save(...args))
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen, { ...quick, checkpointEveryEvents: 4, maxRetries: 0, onFailure: 'deadLetter' })
    manager.start()
    await waitFor(async () => {
      const { problems = [] } = (await manager.status())['seen'] ?? {}
      return problems.includes('saving the checkpoint failed')
    })
    expect(seen.numbers).toEqual([0, 1, 2, 3])

    isAway = false
    await manager.whenCaughtUp('seen')
    expect(seen.numbers).toEqual(numbers(0, 10))
    expect((await manager.status())['seen']).toMatchObject({
      handlerErrors: 0,
      eventsDeadLettered: 0,
      problems: [],
    })
  })

  it('includes all finished events at the stop, even if earlier saves are slow', async () => {
    for (let turns = 0; turns < 12; turns += 1) {
      const scene = new SubscriptionScene()
      for (let n = 0; n < 12; n += 1) await appendOne(scene.store, noted(n, `a${n}`))
      const save = scene.checkpoints.save.bind(scene.checkpoints)
      scene.checkpoints.save = async (...args) => {
        for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
        return save(...args)
      }
      const manager = scene.manager()
      const handle = async ({ n }: Noted) => {
        for (let turn = 0; turn < n; turn += 1) await Promise.resolve()
      }
      manager.subscribe({ name: 'slow', handle }, { concurrency: 6, checkpointEveryEvents: 3 })
      manager.start()
      await manager.whenCaughtUp('slow')

      expect(await manager.stop()).toMatchObject({ checkpointsSaved: 1 })
      expect((await scene.checkpoints.load('slow'))?.position).toBe(12)
    }
  })

  it('that another instance has moved stops the subscription, because it runs twice', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 2)
    const manager = scene.manager()
    manager.subscribe(new Seen(), { checkpointEveryEvents: 1 })
    manager.start()
    await manager.whenCaughtUp('seen')
    await waitFor(async () => (await scene.checkpoints.load('seen'))?.position === 2)
    await scene.checkpoints.save('seen', checkpointAt(1), 2)

    await append(scene.store, 2, 3)
    await waitFor(async () => (await manager.health()).status === 'down')
    expect((await manager.status())['seen']?.lastError).toMatchObject({ name: 'CheckpointConflictError' })
    expect((await scene.checkpoints.load('seen'))?.position).toBe(1)
  })

  it('that cannot be read is read again', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 3)
    await scene.checkpoints.save('seen', checkpointAt(1), undefined)
    const load = scene.checkpoints.load.bind(scene.checkpoints)
    let failures = 2
    scene.checkpoints.load = (name) => {
      failures -= 1
      return failures >= 0 ? Promise.reject(new Error('not yet')) : load(name)
    }
    const manager = scene.manager()
    const seen = new Seen()
    manager.subscribe(seen, quick)
    manager.start()
    await manager.whenCaughtUp('seen')

    expect(seen.numbers).toEqual([1, 2])
  })
})
