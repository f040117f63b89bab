import assert from 'node:assert/strict'
import { test } from './conformance-test.ts'
import { ids, Noted, noted } from './events.ts'
import { Probe } from './probe.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

async function endsByItself(scene: Scene, mode: 'comeAndGo' | 'publishOnly'): Promise<void> {
  const probe = new Probe(scene, mode)
  await scene.until(
    'the process to shut its bus down',
    () => probe.output.includes('shut down') || probe.process.exitCode !== null,
    () => probe.output,
  )
  const exitCode = await scene.within(
    probe.exitCode(),
    'the process to end after its shutdown',
    4 * scene.slackMs,
  )
  assert.equal(exitCode, 0, probe.output)
  assert.equal(probe.output.trim(), 'shut down')
}

/** Tests that need a separate process. */
export const processTests = [
  test('lets the process exit after a shutdown', { needsModule: true }, (scene) =>
    endsByItself(scene, 'comeAndGo'),
  ),

  test('lets a process that only published exit', { needsModule: true }, (scene) =>
    endsByItself(scene, 'publishOnly'),
  ),

  test('takes over the messages in flight of a killed process', {
    needs: ['processes', 'redelivery'],
    needsModule: true,
  }, async (scene) => {
    await scene.declareGroup()
    const publisher = await scene.bus({ presenceIntervalMs: 500 })
    const probe = new Probe(scene, 'hang')
    const events = Array.from({ length: 20 }, (_, n) => noted(`Order-${n % 5}`, n))
    await publisher.publish(events)
    await scene.until(
      'the process to hold all events',
      () => probe.output.includes('started') && probe.output.includes('holds 20.'),
      () => probe.output,
    )
    const isListed = async () =>
      (await publisher.admin.consumers()).some(({ pid }) => pid === probe.process.pid)
    await scene.until('a report of the process', isListed)

    probe.process.kill('SIGKILL')
    await probe.exitCode()
    const heir = new Recording<Noted>()
    await scene.consumer((bus) => bus.subscribe(Noted, heir.handler))

    await scene.until(
      'all events',
      () => new Set(heir.ids).size === 20,
      () => heir.events.map(({ n }) => n),
    )
    for (const [key, ofKey] of Map.groupBy(heir.events, ({ aggregateId }) => aggregateId)) {
      const expected = events.filter(({ aggregateId }) => aggregateId === key)
      assert.deepEqual(ids(ofKey), ids(expected), `order of ${key}`)
    }
    await scene.until('the end of its reports', async () => !(await isListed()))
  }),
]
