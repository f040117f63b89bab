// Rows about appends to PostgreSQL. Each row has tables of its own: what an append costs depends on how large they are.
import type { PostgresStores } from 'eventspine/postgres'
import { sized } from '../arguments.ts'
import { compare, rate, type Step } from '../harness.ts'
import { median } from '../statistics.ts'
import { openEmmett } from './emmett.ts'
import { append, type PostgresScene } from './postgres.ts'
import type { BarePostgres } from './postgres-bare.ts'
import { concurrently, once, placed, placedTimes } from './store-bench.ts'

interface Shape {
  readonly callers: number
  readonly size: number
  /** Appends of a round. */
  readonly count: number
}

const SHAPES: readonly Shape[] = [
  { callers: 1, size: 1, count: 1500 },
  { callers: 1, size: 10, count: 600 },
  { callers: 1, size: 100, count: 100 },
  { callers: 1, size: 1000, count: 15 },
  { callers: 8, size: 1, count: 4000 },
  { callers: 8, size: 10, count: 1200 },
  { callers: 8, size: 100, count: 150 },
]

export function appendSteps(scene: PostgresScene): readonly Step[] {
  return [
    ...SHAPES.map((shape) => shapeStep(scene, shape)),
    loneStep(scene),
    ...coalescedSteps(scene),
    wakeUpStep(scene),
    emmettStep(scene, { callers: 1, size: 1, count: 500 }),
    emmettStep(scene, { callers: 8, size: 10, count: 400 }),
    emmettStep(scene, { callers: 64, size: 1, count: 3000 }),
  ]
}

const ours = (stores: PostgresStores, { callers, size, count }: Shape) =>
  rate(sized(count) * size, () =>
    concurrently(sized(count), callers, () => append(stores, placedTimes(size))),
  )

/** Each caller has a connection of its own. */
async function raw(
  { pool }: PostgresScene,
  bare: BarePostgres,
  shape: Shape,
  times: number[] = [],
): Promise<number> {
  const { callers, size, count } = shape
  const clients = await Promise.all(Array.from({ length: callers }, () => pool.connect()))
  const free = [...clients]
  const figure = await rate(sized(count) * size, () =>
    concurrently(sized(count), callers, async () => {
      const client = free.pop()
      if (client === undefined) throw new Error('each caller has a client')
      const start = performance.now()
      await bare.write(placedTimes(size), client)
      times.push(performance.now() - start)
      free.push(client)
    }),
  )
  for (const client of clients) client.release()
  return figure
}

function shapeStep(scene: PostgresScene, shape: Shape): Step {
  const [stores, bare] = [once(() => scene.open()), once(() => scene.bare())]
  return compare({
    work: `append, ${shape.callers} x ${shape.size}`,
    unit: 'events/s',
    ours: async () => ours(await stores(), shape),
    raw: async () => raw(scene, await bare(), shape),
  })
}

function loneStep(scene: PostgresScene): Step {
  const [stores, bare] = [once(() => scene.open()), once(() => scene.bare())]
  const shape = { callers: 1, size: 1, count: 1000 }
  return compare({
    work: 'a lone append, p50',
    unit: 'ms',
    ours: async () => p50Of(await stores(), 1, sized(shape.count)),
    raw: async () => {
      const times: number[] = []
      await raw(scene, await bare(), shape, times)
      return median(times)
    },
  })
}

async function p50Of(stores: PostgresStores, callers: number, count: number): Promise<number> {
  const times: number[] = []
  await concurrently(count, callers, async () => {
    const start = performance.now()
    await append(stores, [placed()])
    times.push(performance.now() - start)
  })
  return median(times)
}

/** Many callers in one process, compared with eight connections of the bare client. */
function coalescedSteps(scene: PostgresScene): readonly Step[] {
  const [stores, bare] = [once(() => scene.open()), once(() => scene.bare())]
  const connections = { callers: 8, size: 1, count: 4000 }
  return [
    compare({
      work: 'append, 64 callers, beside 8 connections',
      unit: 'events/s',
      ours: async () => ours(await stores(), { callers: 64, size: 1, count: 10_000 }),
      raw: async () => raw(scene, await bare(), connections),
    }),
    compare({
      work: 'append, 64 callers, p50, beside 8 connections',
      unit: 'ms',
      ours: async () => p50Of(await stores(), 64, sized(10_000)),
      raw: async () => {
        const times: number[] = []
        await raw(scene, await bare(), connections, times)
        return median(times)
      },
    }),
  ]
}

function wakeUpStep(scene: PostgresScene): Step {
  const [waking, silent] = [once(() => scene.open()), once(() => scene.open({ wakeUp: 'poll' }))]
  const shape = { callers: 8, size: 1, count: 4000 }
  return compare({
    work: 'append, 8 x 1, with wake-ups',
    peer: 'without',
    unit: 'events/s',
    ours: async () => ours(await waking(), shape),
    raw: async () => ours(await silent(), shape),
  })
}

function emmettStep(scene: PostgresScene, shape: Shape): Step {
  const [stores, emmett] = [once(() => scene.open()), once(() => openEmmett(scene))]
  return compare({
    work: `append, ${shape.callers} x ${shape.size}`,
    peer: 'Emmett',
    unit: 'events/s',
    ours: async () => ours(await stores(), shape),
    raw: async () => {
      const { write } = await emmett()
      const { callers, size, count } = shape
      return rate(sized(count) * size, () =>
        concurrently(sized(count), callers, () => write(placedTimes(size))),
      )
    },
  })
}
