import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { SqliteBusyError } from '../../src/sqlite/index.ts'
import { appendTo, Noted, withFile } from './sqlite-scene.ts'

const noted = () => new Noted({ aggregateId: 'a', n: 1 })

it.each([{ driver: 'node:sqlite' }, { driver: 'better-sqlite3' }] as const)(
  'lets another SqliteStores on the file write after one transaction, with $driver',
  async ({ driver }) => {
    await using scene = withFile()
    const [busy, other] = [scene.open({ driver }), scene.open({ driver })]
    await Promise.all([busy.ready(), other.ready()])
    let transactions = 0
    let isOver = false
    const writing = (async () => {
      while (!isOver) {
        await busy.transaction(async (tx) => {
          await tx.events.appendEvents({
            ...{ aggregateId: 'busy', aggregateType: 'Note', expectedVersion: 'any' },
            events: [new Noted({ aggregateId: 'busy', n: transactions })],
          })
          await delay(1)
        })
        transactions += 1
      }
    })()

    const between: number[] = []
    for (let round = 0; round < 20; round += 1) {
      const before = transactions
      await appendTo(other.events, noted())
      between.push(transactions - before)
    }
    isOver = true
    await writing

    expect(Math.max(...between)).toBeLessThanOrEqual(2)
  },
)

it('refuses a write inside the transaction of another SqliteStores on the file after busyTimeoutMs', async () => {
  await using scene = withFile()
  const [outer, inner] = [scene.open(), scene.open({ busyTimeoutMs: 100 })]
  await inner.ready()

  const failure = await outer
    .transaction(() => appendTo(inner.events, noted()))
    .catch((error: unknown) => error)
  await appendTo(inner.events, noted())

  expect(failure).toBeInstanceOf(SqliteBusyError)
  expect(failure).toMatchObject({ message: expect.stringContaining('100 ms') })
})
