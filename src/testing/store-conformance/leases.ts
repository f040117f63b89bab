import assert from 'node:assert/strict'
import { waitFor } from '../wait-for.ts'
import { storesTest } from './stores-under-test.ts'

const LONG_MS = 60_000

/** Leases: one instance runs at a time. */
export const leaseTests = [
  storesTest('gives a lease to one owner at a time', async ({ stores, other }) => {
    assert.ok(await stores.leases.acquire('a', 'one', LONG_MS))
    assert.equal(await other.leases.acquire('a', 'two', LONG_MS), undefined)
    assert.ok(await other.leases.acquire('b', 'two', LONG_MS))
    await other.leases.release('a', 'two')
    assert.equal(await other.leases.acquire('a', 'two', LONG_MS), undefined)
  }),

  storesTest('gives a lease to one of many concurrent callers', async ({ stores, other }) => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? stores : other).leases.acquire('a', `owner ${index}`, LONG_MS),
      ),
    )

    assert.equal(answers.filter((lease) => lease !== undefined).length, 1)
  }),

  storesTest(
    'extends a lease for its owner, under the same fencing number',
    async ({ stores: { leases } }) => {
      const first = await leases.acquire('a', 'one', LONG_MS)
      assert.deepEqual(await leases.acquire('a', 'one', LONG_MS), first)
      assert.equal(await leases.acquire('a', 'two', LONG_MS), undefined)
    },
  ),

  storesTest('gives a lease that has expired to another owner', async ({ stores, other }) => {
    const first = await stores.leases.acquire('a', 'one', 100)
    const second = await waitFor(() => other.leases.acquire('a', 'two', LONG_MS))

    assert.ok(first !== undefined && second.fence > first.fence, 'the fencing number did not grow')
    assert.equal(await stores.leases.acquire('a', 'one', 100), undefined)
  }),

  storesTest('raises the fencing number with each change of owner', async ({ stores, other }) => {
    const fences: number[] = []
    for (const owner of ['one', 'two', 'one', 'two']) {
      const { leases } = owner === 'one' ? stores : other
      const lease = await leases.acquire('a', owner, LONG_MS)
      assert.ok(lease, `${owner} did not get a lease that was given back`)
      fences.push(lease.fence)
      await leases.release('a', owner)
    }

    assert.deepEqual(
      fences,
      [...new Set(fences)].toSorted((a, b) => a - b),
    )
    assert.ok(fences.every((fence) => Number.isSafeInteger(fence)))
  }),

  storesTest('wakes standby instances when a lease is released', async ({ stores, other }) => {
    let wakeUps = 0
    const end = other.leases.onRelease(() => {
      wakeUps += 1
    })
    await stores.leases.acquire('a', 'one', LONG_MS)
    await stores.leases.release('a', 'one')

    await waitFor(() => wakeUps > 0, { describe: 'a call of onRelease' })
    assert.ok(await other.leases.acquire('a', 'two', LONG_MS))
    end()
  }),
]
