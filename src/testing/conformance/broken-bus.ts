import assert from 'node:assert/strict'
import type { BrokerEventBus, BrokerOptions, DeadLetter } from '../../index.ts'
import { Marked, Noted } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** A handler that fails until it is fixed. */
class Broken extends Recording<Noted> {
  isFixed = false

  constructor() {
    super(() => {
      if (!this.isFixed) throw new RangeError('it is broken')
    })
  }
}

/** A bus of group `main` with this handler named `fails`, a working one, and one for marks. */
export async function busOf(scene: Scene, fails: Recording<Noted>, options: BrokerOptions) {
  const works = new Recording<Noted>()
  const marks = new Recording<Marked>()
  const bus = await scene.consumer((it) => {
    it.subscribe(Noted, fails.handler, { name: 'fails' })
    it.subscribe(Noted, works.handler, { name: 'works' })
    it.subscribe(Marked, marks.handler, { name: 'marks' })
  }, options)
  return { bus, works, marks }
}

/** A bus of group `main` with a failing handler, a working one, and one for marks. */
export async function brokenBus(scene: Scene, options: BrokerOptions = {}) {
  const fails = new Broken()
  return { ...(await busOf(scene, fails, { maxRetries: 1, ...options })), fails }
}

/** The dead letters, when there are so many. */
export async function deadLettersOf(
  scene: Scene,
  bus: BrokerEventBus,
  count: number,
): Promise<readonly DeadLetter[]> {
  await scene.until(
    `${count} dead letters`,
    async () => (await bus.deadLetters.count()) >= count,
    () => bus.getStats(),
  )
  const { deadLetters } = await bus.deadLetters.list()
  assert.equal(deadLetters.length, count)
  return deadLetters
}

/** What of dead letters does not change while they are kept. */
export const comparable = (letters: readonly DeadLetter[]) =>
  letters.map(({ id, body, reason, attempts, handlerNames, lastFailedAt }) => ({
    id,
    body: Buffer.from(body).toString('hex'),
    reason,
    attempts,
    handlerNames,
    lastFailedAt,
  }))
