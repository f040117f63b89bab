import { expect, it } from 'vitest'
import { lineOf, RabbitMQLineIndex } from '../../../src/rabbitmq/consuming/line-index.ts'

const line = lineOf('bill', 'Order-1')

function indexWith(...ids: readonly string[]) {
  return scene(new RabbitMQLineIndex(), ids)
}

function scene(index: RabbitMQLineIndex, ids: readonly string[]) {
  const add = (id: string, given: { readonly place?: number; readonly isParked?: boolean } = {}) => {
    const { place = index.nextPlace(), isParked = false } = given
    const dueAt = isParked ? Number.POSITIVE_INFINITY : 0
    return index.set({ id, record: `${id} at ${place}`, line, place, dueAt, since: place, isParked })
  }
  for (const id of ids) add(id)
  const due = () => index.due(1).map(({ id }) => id)
  const inLine = () => index.line(line).map(({ id }) => id)
  return { index, add, due, inLine }
}

it('lets only the first message of a line be published, once, until its wait ends', () => {
  const { index, due } = indexWith('a', 'b')
  expect(due()).toEqual(['a'])
  const [first] = index.due(1)
  if (first !== undefined) index.release(first)
  expect(due()).toEqual([])
  expect(index.waiting).toBe(1)
  expect(index.end('a')).toEqual([first?.record])
  expect(due()).toEqual(['b'])
})

it('keeps the place of a message that waits again, and needs its earlier records no longer', () => {
  const { index, add, due, inLine } = indexWith('a', 'b')
  const { record = '', place = 0 } = index.get('a') ?? {}
  expect(index.note('a', { record: 'note', of: record })).toEqual([])
  expect(due()).toEqual([])
  expect(add('a', { place })).toEqual([record, 'note'])
  expect([inLine(), due()]).toEqual([['a', 'b'], ['a']])
})

it('ignores a note that refers to an earlier record, or to a wait that is over', () => {
  const { index, due } = indexWith('a')
  expect(index.note('a', { record: 'note', of: 'former' })).toEqual(['note'])
  expect(index.note('gone', { record: 'note', of: 'former' })).toEqual(['note'])
  expect(due()).toEqual(['a'])
})

it('publishes nothing behind a dead letter, and knows which ones were replayed', () => {
  const { index, add, due } = indexWith('a')
  const { place = 0 } = index.get('a') ?? {}
  add('b')
  add('a', { place, isParked: true })
  expect([due(), index.waiting, index.nextDueAt()]).toEqual([[], 1, Number.POSITIVE_INFINITY])
  const [parked] = index.firstParked()
  index.note('a', { record: 'note', of: parked?.record ?? '' })
  expect(index.firstParked()).toEqual([])
  expect(index.end('a')).toEqual([parked?.record, 'note'])
  expect(due()).toEqual(['b'])
})

it('knows since when the oldest message waits that is neither published nor a dead letter', () => {
  const { index, add } = indexWith()
  expect(index.oldestSince()).toBe(Number.POSITIVE_INFINITY)
  add('a', { place: 1, isParked: true })
  add('b', { place: 2 })
  add('c', { place: 3 })
  expect(index.oldestSince()).toBe(2)
  const waiting = index.get('b')
  if (waiting !== undefined) index.release(waiting)
  expect(index.oldestSince()).toBe(3)
})

it('publishes the first messages again if the queue of the group was lost', () => {
  const { index, due } = indexWith('a')
  const [first] = index.due(1)
  index.note('a', { record: 'note', of: first?.record ?? '' })
  expect(index.undoReleases()).toEqual(['note'])
  expect(due()).toEqual(['a'])
})

it('publishes a message again that was published long ago and not handled', () => {
  const { index, due } = scene(new RabbitMQLineIndex(0), ['a'])
  const [first] = index.due(1)
  if (first !== undefined) index.release(first)
  expect(due()).toEqual(['a'])
})
