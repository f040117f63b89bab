import { expect, inject, it } from 'vitest'
import { judge, runWithKills, tables } from '../exactly-once/kills.ts'
import { connected, dropSchema, freshSchema, openStores } from './postgres-scene.ts'

it('has each effect once and in order, wherever the process is killed', async () => {
  const schema = freshSchema()
  {
    await using stores = openStores({ schema })
    await stores.ready()
  }
  await using client = await connected()
  await client.query(tables(`${schema}.`, 'serial'))
  const run = { kind: 'postgres', address: inject('postgresUrl'), schema, orders: 30, seed: 1 } as const
  expect(await runWithKills({ ...run, kills: 4 })).toBeGreaterThan(0)
  const numbers = async (text: string) => (await client.query<{ n: number }>(text)).rows.map(({ n }) => n)
  const orders = await numbers(`select n from ${schema}.orders`)
  const effects = await numbers(`select n from ${schema}.effects order by id`)

  expect(judge(run.orders, orders, effects)).toEqual([])
  expect(await numbers(`select count(*)::int as n from ${schema}.outbox`)).toEqual([1])
  await dropSchema(schema)
})
