import { expect, test, vi } from 'vitest'
import { compare, ROUNDS, rowOf, WARM_UPS } from '../../bench/harness.ts'
import { Arrivals } from '../../bench/works/arrivals.ts'

const head = { bus: 'redis', work: 'publish' }

test('if more is better, the ratio of each round is ours / raw', () => {
  const row = rowOf({ ...head, unit: 'events/s' }, [
    [100, 200],
    [300, 300],
    [200, 100],
  ])

  expect(row).toEqual({ ...head, unit: 'events/s', ours: 200, raw: 200, ratio: 1, spread: [0.5, 2] })
})

test('if less is better, the ratio is raw / ours', () => {
  const row = rowOf({ ...head, unit: 'ms' }, [[2, 1]])

  expect(row).toMatchObject({ ours: 2, raw: 1, ratio: 0.5, spread: [0.5, 0.5] })
})

test('the two sides alternate in going first, and the warm-up does not count', async () => {
  const calls: string[] = []
  const figureOf = (name: string) => async () => {
    calls.push(name)
    return calls.length <= 2 * WARM_UPS ? 1_000_000 : 10
  }

  const [row] = await compare({
    work: 'publish',
    unit: 'events/s',
    ours: figureOf('ours'),
    raw: figureOf('raw'),
  }).run('redis')

  expect(row).toMatchObject({ ours: 10, raw: 10, ratio: 1, spread: [1, 1] })
  expect(calls).toHaveLength(2 * (ROUNDS + WARM_UPS))
  const firsts = calls.filter((_, index) => index % 2 === 0)
  expect(firsts.slice(1, 5)).toEqual(
    firsts[1] === 'ours' ? ['ours', 'raw', 'ours', 'raw'] : ['raw', 'ours', 'raw', 'ours'],
  )
})

test('a row that compares with a peer names it', async () => {
  const figure = vi.fn(async () => 1)

  const [row] = await compare({ work: 'w', unit: 'ns', peer: 'emittery', ours: figure, raw: figure }).run(
    'memory',
  )

  expect(row?.peer).toBe('emittery')
})

test('an event that arrives twice is counted once', async () => {
  const arrivals = new Arrivals(2)
  let isDone = false
  void arrivals.whenAll.then(() => {
    isDone = true
  })

  arrivals.note({ total: 0 })
  arrivals.note({ total: 0 })
  await arrivals.whenFirst
  expect(isDone).toBe(false)

  arrivals.note({ total: 1 })
  expect(await arrivals.whenAll).toBeGreaterThan(0)
})
