import assert from 'node:assert/strict'
import type { BrokerEventBus } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Noted } from './events.ts'
import { OrderedWorkers, orderFaults, type WorkerRun } from './ordered-workers.ts'
import { Probe } from './probe.ts'
import { DEFAULT_WAIT_MS, type Scene, timed } from './scene.ts'

/** Maximum time until others handle what a killed process would have handled, in milliseconds, at the default wait. */
const TAKEOVER_MS = 5000

const subscribe = (bus: BrokerEventBus, handler: (event: Noted) => unknown) => bus.subscribe(Noted, handler)

function countsOf(runs: readonly WorkerRun[]): ReadonlyMap<string, number> {
  return new Map([...Map.groupBy(runs, ({ worker }) => worker)].map(([worker, of]) => [worker, of.length]))
}

/** True if each of the workers has runs, and none has more than twice as many as another. */
function isEven(runs: readonly WorkerRun[], workers: number): boolean {
  const counts = [...countsOf(runs).values()]
  return counts.length === workers && Math.max(...counts) <= 2 * Math.min(...counts)
}

/** The last lines of a process, and its last lines about other things than handled events. */
function tail({ output }: Probe): string {
  const lines = output.split('\n')
  const others = lines.filter((line) => !line.startsWith('started '))
  return [...others.slice(-10), ...lines.slice(-4)].join(' | ')
}

/** The runs that a process has printed. */
function runsOf(probe: Probe, worker: string): readonly WorkerRun[] {
  return probe.linesWith('started').map((line) => {
    const [aggregateId = '', n, time = '0'] = line.split(' ')
    return { worker, aggregateId, n: Number(n), time: BigInt(time) }
  })
}

/** How long it took until the aggregates of a killed worker were handled by others, in milliseconds. */
async function takeoverMs(
  scene: Scene,
  workers: OrderedWorkers,
  { runs, victim, killedAt }: { runs: () => readonly WorkerRun[]; victim: string; killedAt: bigint },
): Promise<number> {
  const orphans = new Set(
    runs().flatMap(({ worker, aggregateId }) => (worker === victim ? [aggregateId] : [])),
  )
  const adoptions = () => {
    const after = runs().filter(({ worker, time }) => worker !== victim && time > killedAt)
    const byAggregate = Map.groupBy(after, ({ aggregateId }) => aggregateId)
    return [...orphans].flatMap((aggregateId) => byAggregate.get(aggregateId)?.[0]?.time ?? [])
  }
  await workers.publishUntil(
    'others to handle the aggregates of the killed worker',
    () => adoptions().length === orphans.size,
    { runs, seen: () => `${adoptions().length} of ${orphans.size}` },
  )
  assert.ok(orphans.size > 0, `the worker ${victim} of ${scene.scope} had handled nothing`)
  return Math.max(...adoptions().map((time) => Number(time - killedAt) / 1e6))
}

/** Promise 14: order per aggregate across the workers of a group. */
export const sharedOrderTests = [
  test('keeps the order of each aggregate across workers that come, crash and stop', {
    needs: ['sharedOrder', 'consumerGroups'],
    faults: ['crash'],
  }, async (scene) => {
    const workers = await OrderedWorkers.start(scene, 40)
    const has = (name: string) => () => workers.runs.some(({ worker }) => worker === name)
    const first = await workers.worker('first', subscribe)
    await workers.publishUntil('the first worker to handle events', has('first'))
    const second = await workers.worker('second', subscribe)
    await workers.publishUntil('the second worker to share', has('second'))
    await workers.worker('third', subscribe)
    await workers.publishUntil('the third worker to share', has('third'))
    await workers.crash('first', first)
    await workers.publish()
    await second.shutdown()
    await workers.publish()

    await workers.allHandled()
    assert.deepEqual(orderFaults(workers.runs), [])
  }),

  test('shares the aggregates evenly among the workers of a group', {
    needs: ['sharedOrder', 'consumerGroups'],
  }, async (scene) => {
    const workers = await OrderedWorkers.start(scene, 200)
    for (const name of ['first', 'second', 'third', 'fourth']) await workers.worker(name, subscribe)
    let shares: readonly WorkerRun[] = []
    // The workers may need a moment to agree on their shares.
    await scene.until(
      'no worker to have more than twice the share of another',
      async () => {
        const before = workers.runs.length
        await workers.publish(1)
        await workers.allHandled()
        shares = workers.runs.slice(before)
        return isEven(shares, 4)
      },
      () => countsOf(shares),
    )
    assert.deepEqual(orderFaults(workers.runs), [])
  }),

  test('passes the aggregates of a worker that stops on to the others at once', {
    needs: ['sharedOrder', 'consumerGroups'],
  }, async (scene) => {
    const workers = await OrderedWorkers.start(scene, 40)
    const first = await workers.worker('first', subscribe)
    await workers.worker('second', subscribe)
    await workers.publishUntil('both workers to share', () => isEven(workers.runs.slice(-80), 2))
    await workers.allHandled()

    await first.shutdown()
    const waited = await timed(async () => {
      await workers.publish()
      await workers.allHandled()
    })
    assert.ok(waited <= 4 * scene.slackMs, `the others handled the next events after ${waited} ms`)
    assert.deepEqual(orderFaults(workers.runs), [])
  }),

  test('keeps the order of each aggregate when a process is killed, and others take over within seconds', {
    needs: ['sharedOrder', 'consumerGroups', 'processes'],
    needsModule: true,
  }, async (scene) => {
    const workers = await OrderedWorkers.start(scene, 60)
    const [victim, other] = [new Probe(scene, 'share'), new Probe(scene, 'share')]
    const runs = () => {
      const all = [...runsOf(victim, 'victim'), ...runsOf(other, 'other')]
      return all.toSorted((a, b) => (a.time < b.time ? -1 : 1))
    }
    await workers.publishUntil('both processes to share', () => isEven(runs().slice(-120), 2), {
      runs,
      seen: () => [victim.output.slice(-500), other.output.slice(-500)],
    })

    const killedAt = process.hrtime.bigint()
    victim.process.kill('SIGKILL')
    const waited = await takeoverMs(scene, workers, { runs, victim: 'victim', killedAt })
    await workers.allHandled(
      runs,
      () => `killed at ${killedAt}, took ${waited} ms; victim: ${tail(victim)}; other: ${tail(other)}`,
    )

    assert.deepEqual(orderFaults(runs()), [])
    const limit = (TAKEOVER_MS * scene.waitMs) / DEFAULT_WAIT_MS
    assert.ok(waited <= Math.max(TAKEOVER_MS, limit), `others took over after ${waited} ms`)
  }),
]
