import assert from 'node:assert/strict'
import type {
  BrokerEventBus,
  BrokerOptions,
  DeadLetter,
  DeadLetterListOptions,
  ExportedLetter,
} from '../../index.ts'
import { busOf } from './broken-bus.ts'
import { Noted, noted } from './events.ts'
import { Recording } from './recording.ts'
import type { Scene } from './scene.ts'

/** A bus of group `main` with a handler that fails for odd and even numbers with different errors, until it is fixed. */
export async function failingBus(scene: Scene, options: BrokerOptions = {}) {
  const state = { isFixed: false }
  const fails = new Recording<Noted>(({ n, aggregateId }) => {
    if (state.isFixed) return
    if (n % 2 === 0) throw new RangeError(`no product '${aggregateId}' with ${n} parts`)
    throw new TypeError('cannot read it')
  })
  return { ...(await busOf(scene, fails, { maxRetries: 0, ...options })), state, fails }
}

/** Publishes events numbered from 0, which become dead letters in that order. */
export async function deadLetters(
  scene: Scene,
  bus: BrokerEventBus,
  count: number,
): Promise<readonly Noted[]> {
  const events = Array.from({ length: count }, (_, n) => noted('Order-1', n))
  const before = await bus.deadLetters.count()
  await bus.publish(events)
  await scene.until(
    `${count} dead letters`,
    async () => (await bus.deadLetters.count()) >= before + count,
    () => bus.getStats(),
  )
  return events
}

/** A dead letter of the handler `works` of the group `main`, as an export. */
export function exportOf(event: Noted): ExportedLetter {
  const { eventId, eventType, aggregateId, aggregateType } = event
  return {
    version: 1,
    id: '',
    headers: {
      ...{ event_id: eventId, event_type: eventType },
      ...{ aggregate_id: aggregateId, aggregate_type: aggregateType },
    },
    body: JSON.stringify(event),
    fields: { dlq_consumer_group: 'main', dlq_handlers: '["works"]' },
  }
}

export const numbersOf = (letters: readonly DeadLetter[]) =>
  letters.map(({ event }) => (event instanceof Noted ? event.n : Number.NaN))

export const bytesOf = ({ body }: DeadLetter) => Buffer.from(body).toString('hex')

export async function pages(
  bus: BrokerEventBus,
  options: DeadLetterListOptions,
): Promise<readonly DeadLetter[]> {
  const letters: DeadLetter[] = []
  let cursor: string | undefined
  do {
    const page = await bus.deadLetters.list({ ...options, ...(cursor !== undefined && { cursor }) })
    assert.ok(page.deadLetters.length <= (options.limit ?? 100))
    letters.push(...page.deadLetters)
    cursor = page.cursor
  } while (cursor !== undefined)
  return letters
}

/** The signature of the errors for even numbers. */
export const RANGE_ERROR = 'RangeError: no product <text> with <n> parts'
