import assert from 'node:assert/strict'
import type { AuditEntry, BulkProgress, DeadLetter, ExportedLetter, SummaryProgress } from '../../index.ts'
import { test } from './conformance-test.ts'
import { noted } from './events.ts'
import { bytesOf, deadLetters, exportOf, failingBus, numbersOf, pages, RANGE_ERROR } from './failing-bus.ts'
import { Probe } from './probe.ts'

/** Promise 19: dead letters in bulk. */
export const bulkLetterTests = [
  test('lists dead letters that match, the newest first if asked, and counts and groups them', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus } = await failingBus(scene)
    const events = await deadLetters(scene, bus, 7)
    const filter = { errorSignature: RANGE_ERROR }

    assert.deepEqual(numbersOf(await pages(bus, { filter, limit: 3 })), [0, 2, 4, 6])
    assert.deepEqual(numbersOf(await pages(bus, { order: 'newest', limit: 3 })), [6, 5, 4, 3, 2, 1, 0])
    assert.deepEqual(numbersOf(await pages(bus, { filter, order: 'newest', limit: 3 })), [6, 4, 2, 0])
    const rare = { eventId: events[5]?.eventId ?? '' }
    assert.deepEqual(numbersOf(await pages(bus, { filter: rare, maxScanned: 2 })), [5])
    const start = await bus.deadLetters.list({ filter: rare, maxScanned: 2 })
    assert.deepEqual([start.deadLetters.length, start.cursor === undefined], [0, false])
    for (const order of ['oldest', 'newest'] as const) {
      for (const cursor of ['nonsense', '{}', '0', '-', `${'9'.repeat(30)}-1`, '{"ends":[1]}']) {
        const wrong = { code: 'CONFIG_INVALID', message: /cursor must be/ }
        await assert.rejects(bus.deadLetters.list({ order, cursor, limit: 3 }), wrong)
        await assert.rejects(bus.deadLetters.list({ order, cursor, filter }), wrong)
      }
    }
    assert.equal(await bus.deadLetters.count(filter), 4)
    assert.equal(await bus.deadLetters.count({ eventId: events[3]?.eventId ?? '' }), 1)
    assert.equal(await bus.deadLetters.count({ consumerGroup: 'elsewhere' }), 0)

    const summary = await bus.deadLetters.summary()
    assert.deepEqual(
      summary.groups.map(({ key, count }) => [key, count]),
      [
        [RANGE_ERROR, 4],
        ['TypeError: cannot read it', 3],
      ],
    )
    assert.deepEqual([summary.matched, summary.scanned, summary.isComplete], [7, 7, true])
    const counts: (readonly number[])[] = []
    const onProgress = ({ scanned, total }: SummaryProgress) => void counts.push([scanned, total])
    await bus.deadLetters.summary({ onProgress })
    assert.deepEqual(counts.at(-1), [7, 7])
    const byHandler = await bus.deadLetters.summary({ by: 'handler', filter, maxScanned: 3 })
    assert.deepEqual(
      [byHandler.groups[0]?.key, byHandler.groups[0]?.count, byHandler.isComplete],
      ['fails', 2, false],
    )
  }),

  test('replays in bulk exactly the dead letters that match, once, and leaves the others as they are', {
    needs: ['deadLetters', 'consumerGroups'],
  }, async (scene) => {
    const { bus, state, fails, works, marks } = await failingBus(scene)
    const other = await failingBus(scene, { consumerGroup: 'other' })
    await deadLetters(scene, bus, 12)
    await scene.until('those of the other group', async () => (await bus.deadLetters.count()) === 24)
    const before = await pages(bus, {})
    state.isFixed = true
    const filter = { errorSignature: RANGE_ERROR, consumerGroup: 'main' }
    const progress: BulkProgress[] = []

    assert.equal(await bus.deadLetters.replayAll(filter, { dryRun: true }), 6)
    const replayed = await bus.deadLetters.replayAll(filter, {
      batchSize: 4,
      onProgress: (at) => void progress.push(at),
    })

    assert.equal(replayed, 6)
    await scene.runs(fails, 18)
    await scene.flush(bus, 'Order-1', marks)
    assert.deepEqual(
      fails.events
        .slice(12)
        .map(({ n }) => n)
        .toSorted((a, b) => a - b),
      [0, 2, 4, 6, 8, 10],
    )
    assert.deepEqual([works.runs.length, other.fails.runs.length], [12, 12])
    const [left, expected] = [
      await pages(bus, {}),
      before.filter((it) => it.consumerGroup === 'other' || it.errorSignature !== RANGE_ERROR),
    ]
    assert.deepEqual(left.map(bytesOf), expected.map(bytesOf))
    assert.deepEqual(
      left.map(({ id }) => id),
      expected.map(({ id }) => id),
    )
    assert.equal(progress.at(-1)?.changed, 6)
    assert.ok(
      progress.some(({ changed }) => changed === 4),
      'no progress after a batch of 4',
    )
  }),

  test('loses no dead letter when a bulk replay is cancelled, and continues it with the next call', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus, state, fails, marks } = await failingBus(scene)
    await deadLetters(scene, bus, 12)
    state.isFixed = true
    const cancel = new AbortController()

    const replayed = await bus.deadLetters.replayAll(
      {},
      {
        batchSize: 2,
        signal: cancel.signal,
        onProgress: ({ changed }) => {
          if (changed >= 4) cancel.abort()
        },
      },
    )

    assert.equal(replayed, 4)
    assert.equal(await bus.deadLetters.count(), 8)
    assert.equal(await bus.deadLetters.replayAll({}, { limit: 5 }), 5)
    assert.equal(await bus.deadLetters.replayAll(), 3)
    await scene.runs(fails, 24)
    await scene.flush(bus, 'Order-1', marks)
    assert.deepEqual(
      fails.events
        .slice(12)
        .map(({ n }) => n)
        .toSorted((a, b) => a - b),
      Array.from({ length: 12 }, (_, n) => n),
    )
    assert.equal(await bus.deadLetters.count(), 0)
  }),

  test('replays at most ratePerSecond', { needs: ['deadLetters'] }, async (scene) => {
    const { bus, state, fails } = await failingBus(scene)
    await deadLetters(scene, bus, 12)
    state.isFixed = true
    const startedAt = performance.now()

    assert.equal(await bus.deadLetters.replayAll({}, { ratePerSecond: 20 }), 12)

    // The last batch of 2 is due after 500 ms.
    assert.ok(performance.now() - startedAt >= 450, 'faster than 20 per second')
    await scene.runs(fails, 24)
  }),

  test('counts on a dead letter how often it was replayed', { needs: ['deadLetters'] }, async (scene) => {
    const { bus } = await failingBus(scene)
    await deadLetters(scene, bus, 1)
    const [letter] = await pages(bus, {})
    assert.deepEqual([letter?.replayCount, letter?.lastReplayedAt], [0, undefined])
    const before = Date.now()

    for (const count of [1, 2]) {
      assert.equal(await bus.deadLetters.replayAll(), 1)
      await scene.until(
        'the dead letter to be back',
        async () => (await bus.deadLetters.count({ minReplays: count })) === 1,
        () => bus.getStats(),
      )
    }

    const [again] = await pages(bus, {})
    assert.equal(again?.replayCount, 2)
    assert.ok((again.lastReplayedAt?.getTime() ?? 0) >= before, 'no time of the replay')
    assert.equal(bytesOf(again), letter && bytesOf(letter))
    assert.equal(await bus.deadLetters.count({ maxReplays: 1 }), 0)
  }),

  test('exports and archives dead letters that an import restores as they were', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus, state, fails } = await failingBus(scene)
    await deadLetters(scene, bus, 5)
    const before = await pages(bus, {})
    const exported: ExportedLetter[] = []
    for await (const letter of bus.deadLetters.export()) exported.push(letter)
    const archived: ExportedLetter[] = []

    const refused = bus.deadLetters.archive({}, () => Promise.reject(new Error('disk full')))
    await assert.rejects(refused, /disk full/)
    assert.equal(await bus.deadLetters.count(), 5)
    const removed = await bus.deadLetters.archive({}, (letters) => void archived.push(...letters))
    assert.deepEqual([removed, await bus.deadLetters.count()], [5, 0])
    assert.deepEqual(archived, exported)
    assert.equal(await bus.deadLetters.import(JSON.parse(JSON.stringify(archived))), 5)

    const after = await pages(bus, {})
    const compared = (letters: readonly DeadLetter[]) =>
      letters
        .map((it) => ({ ...it, id: '', source: '', headers: {}, body: bytesOf(it), event: undefined }))
        .toSorted((a, b) => (a.body < b.body ? -1 : 1))
    assert.deepEqual(compared(after), compared(before))
    const again: ExportedLetter[] = []
    for await (const letter of bus.deadLetters.export()) again.push(letter)
    const headersOf = (letters: readonly ExportedLetter[]) =>
      new Map(letters.map(({ headers, fields, body }) => [body, { headers, fields }]))
    assert.deepEqual(headersOf(again), headersOf(exported))
    state.isFixed = true
    assert.equal(await bus.deadLetters.replayAll(), 5)
    await scene.runs(fails, 10)
    await assert.rejects(bus.deadLetters.import([{}]), /dead letter 1: version must be 1/)
  }),

  test('replays an edited copy as a new event, checked by the schema, to the handlers that failed', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const { bus, state, fails, works, marks } = await failingBus(scene)
    const [event] = await deadLetters(scene, bus, 2)
    const [letter] = await pages(bus, {})
    assert.ok(letter !== undefined && event !== undefined)
    state.isFixed = true

    await assert.rejects(bus.deadLetters.replayEdited(letter.id, { payload: { n: 'x' } }), {
      code: 'DECODE_FAILED',
      message: /n: must be a number/,
    })
    const rehearsed = { payload: { n: 70 } }
    assert.notEqual(await bus.deadLetters.replayEdited(letter.id, rehearsed, { dryRun: true }), undefined)
    assert.equal(await bus.deadLetters.count(), 2)
    const replayed = await bus.deadLetters.replayEdited(letter.id, {
      payload: (payload) => ({ ...payload, n: 70 }),
      metadata: { ticket: 'OPS-12' },
    })

    await scene.runs(fails, 3)
    await scene.flush(bus, 'Order-1', marks)
    const edited = fails.events[2]
    assert.equal(edited?.n, 70)
    assert.equal(edited.eventId, replayed?.eventId)
    assert.notEqual(edited.eventId, event.eventId)
    assert.equal(edited.causationId, event.eventId)
    assert.equal(edited.correlationId, event.correlationId)
    assert.deepEqual(edited.metadata, { ticket: 'OPS-12', editedFrom: event.eventId })
    assert.equal(works.runs.length, 2)
    assert.equal(await bus.deadLetters.count(), 1)
    assert.equal(await bus.deadLetters.get(letter.id), undefined)
    assert.equal(await bus.deadLetters.replayEdited(letter.id, {}), undefined)
  }),

  test('records each change of dead letters, and makes none that it cannot record', {
    needs: ['deadLetters'],
  }, async (scene) => {
    const entries: AuditEntry[] = []
    const store = { isFull: false }
    const { bus } = await failingBus(scene, {
      audit: (entry) => {
        if (store.isFull) throw new Error('no space')
        entries.push(entry)
      },
    })
    await deadLetters(scene, bus, 3)

    store.isFull = true
    await assert.rejects(bus.deadLetters.purge({}), /no space/)
    assert.equal(await bus.deadLetters.count(), 3)
    store.isFull = false
    await bus.deadLetters.purge({ errorName: 'TypeError' }, { by: 'anna', why: 'OPS-12' })

    assert.equal(await bus.deadLetters.count(), 2)
    assert.deepEqual(
      entries.map(({ action, state, by, why, target, count }) => ({ action, state, by, why, target, count })),
      ['started', 'done'].map((state, count) => ({
        ...{ action: 'deadLetters.purge', state, by: 'anna', why: 'OPS-12', count },
        target: { filter: { errorName: 'TypeError' } },
      })),
    )
    const line = scene.log.lines.find(({ message }) => message === 'operator change done')
    assert.deepEqual([line?.fields['by'], line?.fields['count']], ['anna', 1])
  }),

  test('loses no dead letter when a process that replays is killed, and repeats at most one', {
    needs: ['deadLetters', 'processes'],
    needsModule: true,
  }, async (scene) => {
    const { bus, works } = await failingBus(scene)
    const events = Array.from({ length: 100 }, (_, n) => noted('Order-1', n))
    assert.equal(await bus.deadLetters.import(events.map(exportOf)), 100)

    const probe = new Probe(scene, 'replay')
    const enough = 1 + Math.floor(Math.random() * 50)
    await scene.until(
      `the process to have replayed ${enough}`,
      () => probe.linesWith('replayed').some((line) => Number.parseInt(line, 10) >= enough),
      () => probe.output,
    )
    probe.process.kill('SIGKILL')
    await probe.exitCode()
    await bus.deadLetters.replayAll()

    await scene.until(
      'all events',
      () => new Set(works.ids).size === 100,
      () => works.runs.length,
    )
    assert.equal(await bus.deadLetters.count(), 0)
    assert.ok(works.runs.length <= 101, `${works.runs.length} runs for 100 dead letters`)
  }),
]
