import { expect, it } from 'vitest'
import { InMemoryEventBus, idempotencyKeyOf, once } from '../../src/index.ts'
import { Noted, noted } from '../../src/testing/conformance/events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

class Keys {
  readonly stored = new Set<string>()

  async has(key: string): Promise<boolean> {
    return this.stored.has(key)
  }

  async add(key: string): Promise<void> {
    this.stored.add(key)
  }
}

it('skips an event that was handled, also if it is delivered twice at once', async () => {
  await using bus = new InMemoryEventBus()
  const keys = new Keys()
  const seen: number[] = []
  bus.subscribe(
    Noted,
    once('receipt', keys, (event) => seen.push(event.n)),
  )
  const event = noted('a', 1)
  await Promise.all([bus.publish([event]), bus.publish([event])])
  await bus.publish([event, noted('a', 2)])

  expect(seen).toEqual([1, 2])
  expect(keys.stored).toContain(idempotencyKeyOf('receipt', event))
})

it('handles an event again whose handler failed', async () => {
  await using bus = new InMemoryEventBus({ logger: new RecordingLogger() })
  let calls = 0
  const handler = once<Noted>('receipt', new Keys(), () => {
    calls += 1
    if (calls === 1) throw new Error('broken')
  })
  bus.subscribe(Noted, handler)
  const event = noted('a')
  for (let delivery = 0; delivery < 3; delivery += 1) await bus.publish([event])

  expect(calls).toBe(2)
})
