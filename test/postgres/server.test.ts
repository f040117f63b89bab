import { Client } from 'pg'
import { expect, it } from 'vitest'
import { launchBroker } from '../brokers/launch-broker.ts'
import { paced } from '../support/pace.ts'

async function ask(url: string, sql: string): Promise<readonly unknown[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

it('keeps committed data when the server is stopped, and when it is killed', {
  timeout: paced(60_000),
}, async () => {
  await using server = await launchBroker('postgres', { config: ['max_connections = 20'] })
  await ask(server.url, 'create table kept (n int)')
  await ask(server.url, 'insert into kept values (1)')
  await server.restart()
  await ask(server.url, 'insert into kept values (2)')
  await server.kill()
  expect(await server.isAnswering()).toBe(false)
  await server.start()

  expect(await ask(server.url, 'select n from kept order by n')).toEqual([{ n: 1 }, { n: 2 }])
  expect(await ask(server.url, 'show max_connections')).toEqual([{ max_connections: '20' }])
})

it('answers no request while it is frozen', { timeout: paced(60_000) }, async () => {
  await using server = await launchBroker('postgres')
  const client = new Client({ connectionString: server.url })
  await client.connect()
  await server.freeze()
  let isAnswered = false
  const asked = client.query('select 1').finally(() => {
    isAnswered = true
  })

  expect(await server.isAnswering(200)).toBe(false)
  expect(isAnswered).toBe(false)
  await server.thaw()
  expect((await asked).rowCount).toBe(1)
  await client.end()
})
