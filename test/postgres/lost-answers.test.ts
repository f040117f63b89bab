import { Pool } from 'pg'
import { expect, inject, it } from 'vitest'
import { StoreOutcomeUnknownError, type StreamStore } from '../../src/index.ts'
import type { PostgresStores } from '../../src/postgres/index.ts'
import { type Noted, noted } from '../../src/testing/conformance/events.ts'
import { paced } from '../support/pace.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connected, freshSchema, openStores } from './postgres-scene.ts'

/** `EVENTSPINE_LOST_ANSWERS=10000` for a long run. */
const LOST = Number(process.env['EVENTSPINE_LOST_ANSWERS'] ?? 150)

const append = (events: StreamStore, event: Noted) =>
  events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })

/** A proxy that loses the next answer to a statement on demand: the server has committed, and the connection breaks. */
async function answerLosingProxy() {
  const url = new URL(inject('postgresUrl'))
  const proxy = await TcpProxy.start({ host: url.hostname, port: Number(url.port) })
  let isLosing = false
  let lost = 0
  proxy.rewriteAnswers((chunk) => {
    if (!isLosing) return chunk
    isLosing = false
    lost += 1
    proxy.cut()
    return Buffer.alloc(0)
  })
  url.hostname = '127.0.0.1'
  url.port = String(proxy.port)
  return {
    url: url.href,
    loseNext: () => {
      isLosing = true
    },
    get lost() {
      return lost
    },
    [Symbol.dispose]: () => proxy.close(),
  }
}

async function whatFails(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => undefined,
    (error: unknown) => error,
  )
}

/** Several appends at once, of which the store sends some together. */
const atOnce = (stores: PostgresStores, events: readonly Noted[]) =>
  Promise.allSettled(events.map((event) => append(stores.events, event)))

it('returns the first result for an append that is repeated after its response was lost, and adds nothing', {
  timeout: paced(60_000 + LOST * 100),
}, async () => {
  const schema = freshSchema()
  await using direct = openStores({ schema })
  await direct.ready()
  using proxy = await answerLosingProxy()
  const pool = new Pool({ connectionString: proxy.url, max: 2 })
  pool.on('error', () => undefined)
  await using stores = openStores({ schema, pool, wakeUp: 'poll' })
  await stores.ready()
  const repeated = new Map<string, number>()
  // The cut breaks both connections. If the pool hands the other one out before it has noticed, the outcome is unknown again.
  const repeat = async (event: Noted, connections = 2): Promise<void> => {
    try {
      repeated.set(event.eventId, (await append(stores.events, event)).globalPosition)
    } catch (error) {
      if (connections === 0 || !(error instanceof StoreOutcomeUnknownError)) throw error
      await repeat(event, connections - 1)
    }
  }
  for (let round = 0; round < LOST; round += 1) {
    const events = Array.from({ length: round % 3 === 2 ? 4 : 1 }, (_, n) => noted(`a${n}`, round))
    // Both connections exist already, so that the lost response is that of an append.
    await Promise.all([pool.query('select pg_sleep(0.001)'), pool.query('select pg_sleep(0.001)')])
    if (round % 3 === 1) {
      const [event = noted('a')] = events
      const work = () =>
        stores.transaction(async (tx) => {
          const result = await append(tx.events, event)
          proxy.loseNext()
          return result
        })
      expect(await whatFails(work())).toBeInstanceOf(StoreOutcomeUnknownError)
      await repeat(event)
      continue
    }
    proxy.loseNext()
    const outcomes = await atOnce(stores, events)
    const errors = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    expect(errors.length).toBeGreaterThan(0)
    for (const error of errors) expect(error).toBeInstanceOf(StoreOutcomeUnknownError)
    for (const event of events) await repeat(event)
  }

  await pool.end()
  expect(proxy.lost).toBe(LOST)
  await using client = await connected()
  const { rows } = await client.query(`select event_id, position from "${schema}".events order by position`)
  expect(rows.map((row) => [row.event_id, Number(row.position)])).toEqual(
    [...repeated].toSorted(([, a], [, b]) => a - b),
  )
})
