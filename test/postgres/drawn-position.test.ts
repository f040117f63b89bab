import { expect, it } from 'vitest'
import { appendOneStatement } from '../../src/postgres/append-statement.ts'
import { drawnPosition } from '../../src/postgres/drawn-position.ts'
import { holderOf } from '../../src/postgres/feed-statements.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

const SEQUENCE = 'position_seq'

/** How a reader might read the sequence without its lock. */
const INEXACT = `(select last_value from ${SEQUENCE})`

/** Readings of a round. A round takes about two seconds. */
const READINGS = 200_000

/** Each statement of a plpgsql loop reads the sequence once more. */
const reader = (expression: string) => `
create function steps_back(readings integer) returns integer language plpgsql as $$
declare
  found integer := 0;
  previous bigint := 0;
  present bigint;
begin
  for i in 1..readings loop
    select ${expression} into present;
    if present < previous then found := found + 1; end if;
    previous := present;
  end loop;
  return found;
end $$`

/** How often readers read a position that is below one that they had read before, while others draw positions. */
async function stepsBack(expression: string, rounds: number): Promise<number> {
  const schema = freshSchema()
  const names = ['setup', 'drawing', 'drawing', 'reading', 'reading']
  const clients = await Promise.all(names.map(() => connected()))
  const [setup, ...others] = clients
  if (setup === undefined) throw new Error('no client')
  try {
    await setup.query(`create schema ${schema}`)
    for (const client of clients) await client.query(`set search_path to ${schema}`)
    await setup.query(`create sequence ${SEQUENCE} cache 1`)
    await setup.query(reader(expression))
    const [drawing, reading] = [others.slice(0, 2), others.slice(2)]
    let found = 0
    for (let round = 0; round < rounds && found === 0; round += 1) {
      let isOver = false
      const draw = async (client: (typeof clients)[number]) => {
        while (!isOver)
          await client.query(`select max(nextval('${SEQUENCE}')) from generate_series(1, 20000)`)
      }
      const drawn = drawing.map(draw)
      const answers = await Promise.all(
        reading.map((client) => client.query('select steps_back($1) as found', [READINGS])),
      )
      isOver = true
      await Promise.all(drawn)
      for (const { rows } of answers) found += Number(rows[0].found)
    }
    return found
  } finally {
    await setup.query(`drop schema ${schema} cascade`)
    await Promise.all(clients.map((client) => client.end()))
  }
}

it('is exact while others draw', async () => {
  expect(await stepsBack(drawnPosition(SEQUENCE), 1)).toBe(0)
})

it('is not exact when read as a column of the sequence', async () => {
  expect(await stepsBack(INEXACT, 30)).toBeGreaterThan(0)
})

it('is how every function and statement of the store reads its sequences', async () => {
  const schema = freshSchema()
  await using stores = openStores({ schema })
  await stores.ready()
  await using client = await connected()
  const { rows } = await client.query(
    `select proname, prosrc from pg_proc where pronamespace = $1::regnamespace and prosrc like '%last_value%'`,
    [schema],
  )
  const names = rows.map(({ proname }) => proname).sort()
  expect(names).toEqual([
    'append',
    'append_many',
    'enter_register',
    'feed_end',
    'number_outbox',
    'outbox_end',
  ])
  const statements = [appendOneStatement(schema), holderOf(schema)].map(({ text }) => text)
  for (const text of [...rows.map(({ prosrc }) => prosrc), ...statements])
    expect(text).not.toMatch(/(?<!pg_sequence_)last_value/)
})
