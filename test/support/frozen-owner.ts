import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { orderShipped } from './order-events.ts'
import { paced } from './pace.ts'
import { type StoresPlace, storesOf } from './stores-of.ts'
import { startSubscriber } from './subscriber-process.ts'
import { waitFor } from './wait-for.ts'

const LEASE_TTL_MS = 2000

/**
 * Freezes the process that has the lease for twice the duration of the lease, resumes it, and stops the process that took over. Expects
 * that each takes over in time, and that every event is handled.
 */
export async function freezeOwner(place: StoresPlace): Promise<void> {
  await using stores = storesOf(place)
  await stores.ready()
  const sent: string[] = []
  let isOver = false
  const sending = (async () => {
    while (!isOver) {
      const event = orderShipped(`Order-${sent.length % 5}`)
      await stores.events.appendEvents({ ...event, events: [event], expectedVersion: 'any' })
      sent.push(event.eventId)
      await delay(20)
    }
  })()
  const start = (instanceId: string) => startSubscriber({ place, instanceId, leaseTtlMs: LEASE_TTL_MS })
  const one = start('one')
  await waitFor(() => one.handled.length > 5, { timeoutMs: 20_000 })
  const two = start('two')
  // It has started when it shows up in the store, which only its lease would show: its own time is enough.
  await delay(LEASE_TTL_MS)
  expect(two.handled).toEqual([])

  one.signal('SIGSTOP')
  const frozenAt = performance.now()
  await waitFor(() => two.handled.length > 0, { timeoutMs: 20_000, intervalMs: 10 })
  const takeoverMs = performance.now() - frozenAt
  await delay(Math.max(0, 2 * LEASE_TTL_MS - takeoverMs))
  const before = two.handled.length
  one.signal('SIGCONT')
  await waitFor(() => two.handled.length > before + 20, { timeoutMs: 20_000 })

  await two.stop()
  const stoppedAt = performance.now()
  const seen = one.handled.length
  await waitFor(() => one.handled.length > seen, { timeoutMs: 20_000, intervalMs: 10 })
  const handoverMs = performance.now() - stoppedAt
  isOver = true
  await sending
  const all = () => new Set([...one.handled, ...two.handled])
  await waitFor(() => all().size === sent.length, { timeoutMs: 20_000 })
  await one.stop()

  expect(takeoverMs).toBeLessThan(paced(LEASE_TTL_MS + 1000))
  expect(handoverMs).toBeLessThan(paced(LEASE_TTL_MS / 2))
}

/** Every save of a checkpoint in order: each owner has a higher fencing number, and positions never go back. */
export function expectFenced(saves: readonly { readonly fence: number; readonly position: number }[]): void {
  const fences = saves.map(({ fence }) => fence)
  expect(fences).toEqual(fences.toSorted((a, b) => a - b))
  expect(new Set(fences).size).toBe(3)
  const positions = saves.map(({ position }) => position)
  expect(positions).toEqual(positions.toSorted((a, b) => a - b))
}
