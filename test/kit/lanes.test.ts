import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Lanes } from '../../src/kit/lanes.ts'
import { Slots } from '../../src/kit/slots.ts'

const never = new AbortController().signal
const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

it('keeps the order of each key, and never exceeds the slots', async () => {
  const items = fc.array(fc.record({ key: fc.integer({ min: 0, max: 4 }), isAsync: fc.boolean() }))
  await fc.assert(
    fc.asyncProperty(items, fc.integer({ min: 1, max: 3 }), async (given, slots) => {
      const seen: { key: number; index: number }[] = []
      let running = 0
      let most = 0
      const lanes = new Lanes<{ key: number; index: number; isAsync: boolean }>(
        new Slots(slots),
        never,
        (item) => {
          running += 1
          most = Math.max(most, running)
          const end = () => {
            running -= 1
            seen.push(item)
          }
          return item.isAsync ? nextTurn().then(end) : end()
        },
      )

      for (const [index, item] of given.entries()) lanes.push(String(item.key), { ...item, index })
      await lanes.whenIdle()

      expect(most).toBeLessThanOrEqual(slots)
      expect(seen).toHaveLength(given.length)
      for (const [key, ofKey] of Map.groupBy(seen, (item) => item.key)) {
        const expected = given.flatMap((item, index) => (item.key === key ? [index] : []))
        expect(ofKey.map(({ index }) => index)).toEqual(expected)
      }
    }),
  )
})

it('stops a lane whose work returns false, and continues in others', async () => {
  const seen: string[] = []
  const lanes = new Lanes<string>(new Slots(1), never, (item) => {
    seen.push(item)
    return item !== 'stuck'
  })

  lanes.push('a', 'stuck')
  lanes.push('a', 'behind')
  lanes.push('b', 'other')
  await lanes.whenIdle()

  expect(seen).toEqual(['stuck', 'other'])
})

it('starts nothing once it is stopping', async () => {
  const stopping = new AbortController()
  const gate = Promise.withResolvers<void>()
  const seen: string[] = []
  const lanes = new Lanes<string>(new Slots(2), stopping.signal, (item) => {
    seen.push(item)
    return gate.promise
  })
  for (const key of ['a', 'b', 'c']) lanes.push(key, key)
  lanes.push('a', 'second of a')

  stopping.abort()
  gate.resolve()
  await lanes.whenIdle()

  expect(seen).toEqual(['a', 'b'])
})

it('gives its slot to a waiting lane after each item', async () => {
  const seen: string[] = []
  const lanes = new Lanes<string>(new Slots(1), never, async (item) => {
    await nextTurn()
    seen.push(item)
  })

  for (const item of ['a1', 'a2', 'a3']) lanes.push('a', item)
  lanes.push('b', 'b1')
  await lanes.whenIdle()

  expect(seen).toEqual(['a1', 'b1', 'a2', 'a3'])
})

it('starts nothing while its slots are held, and goes on in order after that', async () => {
  const gate = Promise.withResolvers<void>()
  const seen: string[] = []
  const slots = new Slots(2)
  const lanes = new Lanes<string>(slots, never, (item) => {
    seen.push(item)
    return gate.promise
  })
  for (const item of ['a1', 'a2', 'a3']) lanes.push('a', item)
  slots.hold()
  lanes.push('b', 'b1')
  gate.resolve()
  await nextTurn()
  expect(seen).toEqual(['a1'])

  slots.unhold()
  await lanes.whenIdle()

  expect(seen.filter((item) => item.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
  expect(seen).toContain('b1')
})
