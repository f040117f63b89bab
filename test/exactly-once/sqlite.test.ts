import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { judge, type KillRun, runWithKills, tables } from './kills.ts'

async function faultsIn(run: Pick<KillRun, 'seed' | 'kills' | 'fault'>): Promise<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-once-'))
  const address = join(folder, 'orders.db')
  const db = new DatabaseSync(address)
  try {
    db.exec('pragma journal_mode = wal')
    db.exec(tables('', 'integer primary key autoincrement'))
    const orders = 30
    expect(await runWithKills({ kind: 'sqlite', address, schema: '', orders, ...run })).toBeGreaterThan(0)
    const numbers = (table: string) =>
      db
        .prepare(`select n from ${table} order by rowid`)
        .all()
        .map((row) => Number(row['n']))
    expect(db.prepare('select count(*) as n from eventspine_outbox').get()).toEqual({ n: 1 })
    return judge(orders, numbers('orders'), numbers('effects'))
  } finally {
    db.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

it('has each effect once and in order, wherever the process is killed', async () => {
  expect(await faultsIn({ seed: 1, kills: 4 })).toEqual([])
})

it('catches an inbox whose note and effect are two transactions', async () => {
  const faults = await faultsIn({ seed: 2, kills: 4, fault: 'two-transactions' })
  expect(faults.some((fault) => /has 2 effects|out of order/.test(fault))).toBe(true)
})
