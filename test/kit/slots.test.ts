import { expect, it } from 'vitest'
import { Slots } from '../../src/kit/slots.ts'

/** Takes a slot, and notes the name when it has one. */
function taker(slots: Slots) {
  const taken: string[] = []
  return { taken, take: (name: string) => slots.take(() => void taken.push(name)) }
}

it('gives a released slot to the caller that waits longest', () => {
  const slots = new Slots(1)
  const { taken, take } = taker(slots)
  for (const name of ['a', 'b', 'c']) take(name)
  expect(taken).toEqual(['a'])

  slots.release()

  expect(taken).toEqual(['a', 'b'])
  expect(slots.inUse).toBe(1)
})

it('lets a caller take its slot again although none is free, and gives out none until one more is released', () => {
  const slots = new Slots(1)
  const { taken, take } = taker(slots)
  take('a')
  slots.release()
  for (const name of ['b', 'c']) take(name)

  slots.takeAnyway()
  expect(slots.inUse).toBe(1)
  slots.release()
  expect(taken).toEqual(['a', 'b'])

  slots.release()
  expect(taken).toEqual(['a', 'b', 'c'])
})

it('gives out no slot while it is held, and all of them afterwards', () => {
  const slots = new Slots(2)
  const { taken, take } = taker(slots)
  slots.hold()
  for (const name of ['a', 'b', 'c']) take(name)
  slots.takeAnyway()
  slots.release()
  expect(taken).toEqual([])

  slots.unhold()
  expect(taken).toEqual(['a', 'b'])
})
