import assert from 'node:assert/strict'
import type { AuditEntry, BrokerEventBus, BrowsedEvent } from '../../index.ts'
import { test } from './conformance-test.ts'
import { Noted, noted, series } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** All events of the log, the oldest first. */
async function log({ admin }: BrokerEventBus): Promise<readonly BrowsedEvent[]> {
  const found: BrowsedEvent[] = []
  for await (const event of admin.browse()) found.push(event)
  return found
}

/** Waits until no member of the group lives. */
async function deserted(scene: Scene, { admin }: BrokerEventBus): Promise<void> {
  let members: number | undefined
  await scene.until(
    'a group without members',
    async () => {
      members = (await admin.group('main')).members
      return members === 0
    },
    () => members,
  )
}

/** Promise 21: an operator moves a group to another place in the log. */
export const seekTests = [
  test('moves a consumer group to a position, a time or an end, while no member of it lives', {
    needs: ['operator', 'seeking', 'consumerGroups', 'persistence'],
  }, async (scene) => {
    const entries: AuditEntry[] = []
    const operator = await scene.brokerBus({
      consumerGroup: 'observer',
      audit: (entry) => void entries.push(entry),
    })
    const { admin } = operator
    const handled = new Recording<Noted>()
    const start = () => scene.consumer((bus) => bus.subscribe(Noted, handled.handler, { name: 'notes' }))
    const numbers = () => handled.events.map(({ n }) => n)
    let bus = await start()
    await operator.publish(series('Order-1', 5))
    await scene.runs(handled, 5)
    const before = await log(operator)
    const lastAt = before.at(-1)?.storedAt?.getTime() ?? 0
    await scene.until('a later time', () => Date.now() > lastAt)
    await operator.publish([noted('Order-1', 5), noted('Order-1', 6)])
    await scene.runs(handled, 7)
    const all = await log(operator)

    await assert.rejects(admin.seek('main', 'first', { by: 'ada' }), { code: 'GROUP_IN_USE' })
    await bus.shutdown()
    await deserted(scene, operator)
    await assert.rejects(admin.seek('mian', 'first'), { code: 'GROUP_NOT_FOUND' })
    await assert.rejects(admin.seek('main', 'somewhere'), { code: 'CONFIG_INVALID' })
    const place = all[1]?.position ?? ''
    assert.deepEqual(await admin.seek('main', place, { dryRun: true }), { events: 5, isMoved: false })
    assert.equal((await admin.group('main')).lag, 0)

    assert.deepEqual(await admin.seek('main', place, { by: 'ada', why: 'OPS-12' }), {
      events: 5,
      isMoved: true,
    })
    assert.equal((await admin.group('main')).lag, 5)
    handled.runs.length = 0
    bus = await start()
    await scene.runs(handled, 5)
    assert.deepEqual(numbers(), [2, 3, 4, 5, 6])
    await bus.shutdown()
    await deserted(scene, operator)

    const time = all[5]?.storedAt
    if (time !== undefined) assert.equal((await admin.seek('main', time, { dryRun: true })).events, 2)
    assert.equal((await admin.seek('main', 'first', { dryRun: true })).events, 7)
    assert.deepEqual(await admin.seek('main', 'last'), { events: 0, isMoved: true })
    handled.runs.length = 0
    bus = await start()
    await operator.publish([noted('Order-1', 7)])
    await scene.runs(handled, 1)
    assert.deepEqual(numbers(), [7])
    const done = entries.filter(({ state }) => state === 'done')
    assert.deepEqual(
      done.map(({ action, by, why, count }) => [action, by, why, count]),
      [
        ['groups.seek', 'ada', 'OPS-12', 5],
        ['groups.seek', done[1]?.by, undefined, 0],
      ],
    )
  }),
]
