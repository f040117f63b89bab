import assert from 'node:assert/strict'
import { test } from './conformance-test.ts'
import { Probe, type Release } from './probe.ts'
import { Later } from './rolled-events.ts'
import type { Scene } from './scene.ts'

/** Events that a release publishes at a time. */
const BURST = 5

/** The processes of one consumer group, with different releases of its code. */
class Rollout {
  readonly #scene: Scene
  readonly #running = new Map<Release, Probe>()
  readonly #all: Probe[] = []

  constructor(scene: Scene) {
    this.#scene = scene
  }

  /** Starts a process with a release, then lets all running ones publish. */
  async start(release: Release): Promise<void> {
    const probe = new Probe(this.#scene, release)
    this.#running.set(release, probe)
    this.#all.push(probe)
    await this.#until(`${release} to consume`, () => probe.output.includes('consuming'))
    await this.#publish()
  }

  /** Stops the process with a release, then lets the others publish. */
  async stop(release: Release): Promise<void> {
    const probe = this.#running.get(release)
    this.#running.delete(release)
    assert.equal(
      await this.#scene.within(Promise.resolve(probe?.end()), `${release} to end`),
      0,
      probe?.output,
    )
    await this.#publish()
  }

  /** Waits until each event that a process published was handled by one of them. */
  async allHandled(): Promise<void> {
    const idsOf = (word: string) => this.#all.flatMap((probe) => probe.linesWith(word))
    await this.#until('all published events to be handled', () => {
      const handled = new Set(idsOf('handled'))
      return idsOf('published').every((id) => handled.has(id))
    })
  }

  async #publish(): Promise<void> {
    const before = this.#published()
    for (const probe of this.#running.values()) probe.send(`publish ${BURST}`)
    const expected = before + BURST * this.#running.size
    await this.#until('the events to be published', () => this.#published() === expected)
    await this.allHandled()
  }

  #published(): number {
    return this.#all.reduce((sum, probe) => sum + probe.linesWith('published').length, 0)
  }

  #until(what: string, condition: () => boolean): Promise<unknown> {
    return this.#scene.until(what, condition, () => this.#all.map(({ output }) => output))
  }
}

/** Promise 15: releases of one consumer group that run side by side. */
export const rolloutTests = [
  test('handles every event while releases replace each other, forward and back', {
    needs: ['processes', 'consumerGroups', 'deadLetters', 'persistence'],
    needsModule: true,
  }, async (scene) => {
    await scene.declareGroup()
    const rollout = new Rollout(scene)
    await rollout.start('before')
    await rollout.start('during')
    await rollout.stop('before')
    await rollout.start('before')
    await rollout.stop('before')
    await rollout.start('later')
    await rollout.stop('during')
    await rollout.stop('later')

    const bus = await scene.brokerBus()
    assert.equal(await bus.deadLetters.count(), 0)
  }),

  test('keeps what an older release cannot read for the newer one', {
    needs: ['processes', 'consumerGroups', 'deadLetters', 'persistence'],
    needsModule: true,
  }, async (scene) => {
    await scene.declareGroup()
    const publisher = await scene.brokerBus()
    const old = new Probe(scene, 'before')
    await scene.until(
      'the older release to consume',
      () => old.output.includes('consuming'),
      () => old.output,
    )
    const events = [1, 2, 3].map((count) => new Later({ aggregateId: 'Order-1', count }))
    await publisher.publish(events)
    await scene.until('dead letters', async () => (await publisher.deadLetters.count()) === 3)
    assert.equal(await scene.within(old.end(), 'the older release to end'), 0, old.output)

    const next = new Probe(scene, 'later')
    await scene.until(
      'the newer release to consume',
      () => next.output.includes('consuming'),
      () => next.output,
    )
    assert.equal(await publisher.deadLetters.replayAll(), 3)
    await scene.until(
      'the replayed events to be handled',
      () => next.linesWith('handled').length >= 3,
      () => next.output,
    )
    assert.deepEqual(new Set(next.linesWith('handled')), new Set(events.map(({ eventId }) => eventId)))
  }),
]
