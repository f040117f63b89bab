import { expect, it } from 'vitest'
import {
  DUE,
  KafkaWaitingIndex,
  KEY,
  lineOf,
  PLACE,
  RELEASED,
} from '../../../src/kafka/consuming/waiting-index.ts'
import type { StoredRecord } from '../../../src/kafka/wire/stored-record.ts'
import { REPLAY_HANDLERS, waitHeader } from '../../../src/transport/replay-headers.ts'

const HANDLER = 'invoice'
const KEYS = ['Order-0', 'Order-1', 'Order-2', 'Order-3']
const since = new Date(0)

function record(offset: number, key: string, headers: Record<string, string>, value: string | null = 'body') {
  const pairs = Object.entries(headers).map(([name, text]) => [Buffer.from(name), Buffer.from(text)] as const)
  return {
    offset,
    timestamp: 0,
    key: Buffer.from(key),
    value: value === null ? null : Buffer.from(value),
    sizeBytes: 0,
    headers: pairs,
    headerTexts: headers,
  } satisfies StoredRecord
}

function copy(offset: number, id: string, { key = 'Order-1', dueAt = 0, place }: Copy = {}): StoredRecord {
  const wait = { handlerName: HANDLER, attempts: 1, firstFailedAt: since }
  return record(offset, id, {
    [REPLAY_HANDLERS]: waitHeader(wait, id),
    [DUE]: String(dueAt),
    [KEY]: key,
    ...(place !== undefined && { [PLACE]: String(place) }),
  })
}

interface Copy {
  readonly key?: string
  readonly dueAt?: number
  readonly place?: number | undefined
}

const note = (offset: number, id: string, copyAt: number, topicId = 'topic') =>
  record(offset, `note ${id}`, { [RELEASED]: JSON.stringify([id, String(copyAt), topicId]) })

function indexOf(log: readonly StoredRecord[]): KafkaWaitingIndex {
  const index = new KafkaWaitingIndex()
  for (const each of log) index.onRecord(0, each)
  return index
}

const dueOf = (index: KafkaWaitingIndex, now = 1) =>
  index
    .due(now)
    .map(([id]) => id)
    .toSorted()
const line = (index: KafkaWaitingIndex, key = 'Order-1') => index.line(lineOf(HANDLER, key))

const stateOf = (index: KafkaWaitingIndex) =>
  JSON.stringify([KEYS.map((key) => line(index, key)), dueOf(index), index.unreleased])

/** What a compacted log still has. */
function compacted(log: readonly StoredRecord[]): readonly StoredRecord[] {
  const last = new Map(log.map((each) => [each.key?.toString(), each]))
  return log.filter((each) => last.get(each.key?.toString()) === each)
}

it('lets only the first record of a line become due', () => {
  const log = [copy(0, 'a'), copy(1, 'b'), copy(2, 'other', { key: 'Order-2', dueAt: 9 })]

  expect(dueOf(indexOf(log))).toEqual(['a'])
  expect(indexOf(log).nextDueAt()).toBe(0)
  expect(dueOf(indexOf([...log, record(3, 'a', {}, null)]))).toEqual(['b'])
})

it('keeps the place of a released record until its wait ends, and does not release it twice', () => {
  const index = indexOf([copy(0, 'a'), copy(1, 'b'), note(2, 'a', 0)])

  expect([dueOf(index), line(index), index.unreleased]).toEqual([[], ['a', 'b'], 1])
})

it('ignores a note that comes after the record was stored again, or after its wait', () => {
  const stored = [copy(0, 'a'), copy(1, 'a', { place: 0 }), note(2, 'a', 0)]

  expect(dueOf(indexOf(stored))).toEqual(['a'])
  expect(indexOf([...stored, record(3, 'a', {}, null), note(4, 'a', 1)]).isEmpty).toBe(true)
})

it('releases a record again if the topic that it went to was replaced', () => {
  const index = indexOf([copy(0, 'a'), note(1, 'a', 0, 'former')])

  index.undoReleases('former')
  expect(dueOf(index)).toEqual([])
  index.undoReleases('latter')
  expect(dueOf(index)).toEqual(['a'])
})

it('puts a record that is repeated after a crash before the later ones', () => {
  const index = indexOf([copy(0, 'b'), copy(1, 'c'), copy(2, 'a', { place: -0.5 })])

  expect([line(index), dueOf(index)]).toEqual([['a', 'b', 'c'], ['a']])
})

it.each([1, 2, 3])('reads the same from a whole and from a compacted log (seed %i)', (seed) => {
  let state = seed
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((state / 2_147_483_648) * below)
  }
  const log: StoredRecord[] = []
  const live = new KafkaWaitingIndex()
  const write = (entry: (offset: number) => StoredRecord) => {
    const entryAt = entry(log.length)
    log.push(entryAt)
    live.onRecord(0, entryAt)
  }
  for (let step = 0; step < 200; step += 1) {
    const key = `Order-${random(4)}`
    const [first] = line(live, key)
    const held = first === undefined ? undefined : live.get(first)
    const action = random(5)
    if (first === undefined || held === undefined || action < 2)
      write((at) => copy(at, `${key} ${at}`, { key }))
    else if (action === 2) write((at) => note(at, first, held.offset))
    else if (action === 3) write((at) => copy(at, first, { key, place: held.place }))
    else write((at) => record(at, first, {}, null))

    const again = indexOf(compacted(log))
    expect(stateOf(again)).toBe(stateOf(live))
  }
})
