import assert from 'node:assert/strict'
import { CONSUMERS, PRODUCERS, releasesThatWrite, VERSIONS, type Version } from '../versioned-events.ts'
import { type ConformanceTest, test } from './conformance-test.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** A consumer with the code of a release, in a group of its own or in a common one. */
async function consumer(scene: Scene, version: Version, consumerGroup: string) {
  const handled = new Recording()
  const { eventClass, seen } = CONSUMERS[version]
  const bus = await scene.consumer((it) => it.subscribe(eventClass, handled.handler), { consumerGroup })
  /** The aggregates whose events were handled with the right payload. */
  const rightly = () => handled.events.filter(seen).map(({ aggregateId }) => aggregateId)
  return { version, bus, handled, rightly }
}

/** Promise 15: each release that publishes against each release that consumes. */
export const versionTests: readonly ConformanceTest[] = [
  test('delivers events of versions 1, 2 and 3 to consumers of versions 1, 2 and 3, and dead-letters only newer ones', {
    needs: ['wire', 'consumerGroups', 'deadLetters'],
  }, async (scene) => {
    const consumers = await Promise.all(
      VERSIONS.map((version) => consumer(scene, version, `release-${version}`)),
    )
    const publisher = await scene.brokerBus()
    await publisher.publish(Object.entries(PRODUCERS).map(([name, { event }]) => event(name)))

    for (const { version, bus, rightly } of consumers) {
      const all = Object.keys(PRODUCERS)
      const readable = releasesThatWrite((written) => written <= version)
      const dead = () => bus.getStats().messagesSentToDlq
      await scene.until(
        `release ${version} to get all events`,
        () => rightly().length + dead() >= all.length,
        () => [rightly(), bus.getStats()],
      )
      assert.deepEqual(rightly().toSorted(), readable.toSorted())
      assert.equal(dead(), all.length - readable.length)
    }
    const { deadLetters } = await publisher.deadLetters.list()
    for (const { reason, errorMessage } of deadLetters) {
      assert.equal(reason, 'deserialization_error')
      assert.match(errorMessage ?? '', /of version [23], but this process knows it up to version [12]/)
    }
  }),
]

/** Promise 15: all releases in one group, and events of all versions. */
export const mixedVersionTests: readonly ConformanceTest[] = [
  test('dead-letters no event that a newer member of the group can read, while releases replace each other', {
    needs: ['wire', 'consumerGroups', 'deadLetters', 'groupTypes'],
  }, async (scene) => {
    const [first, second, third] = await Promise.all([
      consumer(scene, 1, 'main'),
      consumer(scene, 2, 'main'),
      consumer(scene, 3, 'main'),
    ])
    // The oldest release gets all events, of all versions.
    await Promise.all([second.bus.stopConsuming(), third.bus.stopConsuming()])
    const idsOf = (version: Version) => releasesThatWrite((written) => written === version)
    await first.bus.publish(Object.entries(PRODUCERS).map(([name, { event }]) => event(name)))
    const handles = (member: typeof first, version: Version) =>
      scene.until(
        `release ${member.version} to handle the events of version ${version}`,
        () => idsOf(version).every((id) => member.rightly().includes(id)),
        () => [member.rightly(), member.bus.getStats()],
      )

    await handles(first, 1)
    await scene.consume(second.bus)
    await first.bus.shutdown()
    await handles(second, 2)
    await scene.consume(third.bus)
    await second.bus.shutdown()
    await handles(third, 3)
    assert.deepEqual(new Set(first.rightly()), new Set(idsOf(1)))
    assert.equal(await third.bus.deadLetters.count(), 0)
  }),
]
