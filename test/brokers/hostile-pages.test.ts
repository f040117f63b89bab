import { randomUUID } from 'node:crypto'
import { expect, it, onTestFinished } from 'vitest'
import { EventRegistry, type ExportedLetter } from '../../src/index.ts'
import { createOperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { useBrowser } from '../operator/browser.ts'
import { HOSTILE, shownText } from '../operator/hostile-texts.ts'
import { type Answer, faultsIn } from '../operator/inspected.ts'
import { LARGE, letterWith } from '../operator/letters/hostile-letters.ts'
import { serve } from '../operator/serve.ts'
import { silentLogger } from '../operator/silent-logger.ts'
import { OrderCreated } from '../support/order-events.ts'
import type { BrokerKind } from './broker.ts'
import { createBus, systems } from './every-bus.ts'

const browser = useBrowser()

/** RabbitMQ names a queue after the group, so its name cannot be any text, and each group takes time: every tenth has its own. */
function possibleOn(system: BrokerKind, letter: ExportedLetter, index: number): unknown {
  const { dlq_consumer_group: group = '' } = letter.fields
  const isName = !/[\r\n]/.test(group) && Buffer.byteLength(group) < 100
  const isPossible = system !== 'rabbitmq' || (isName && index % 10 === 0)
  const fields = isPossible ? letter.fields : { ...letter.fields, dlq_consumer_group: 'page' }
  return JSON.parse(JSON.stringify({ ...letter, fields }))
}

it.each(['two\nlines', 'x'.repeat(200)])(
  'RabbitMQ refuses dead letters of a group that can have no queue there, with the reason',
  async (group) => {
    const bus = createBus('rabbitmq', `hostile-${randomUUID().slice(0, 8)}`, { logger: silentLogger })
    const letter = letterWith('a')
    const given = { ...letter, fields: { ...letter.fields, dlq_consumer_group: group } }
    await expect(bus.deadLetters.import([given])).rejects.toThrow(
      /the group of a dead letter, must (not contain line breaks|make names of at most 200 bytes)/,
    )
    expect(await bus.deadLetters.count()).toBe(0)
  },
)

it.each(systems)(
  'hostile texts in types, ids, headers, errors and payloads are shown as texts, from dead letters on %s',
  async (system) => {
    const registry = new EventRegistry()
    registry.register(OrderCreated)
    const scope = `hostile-${randomUUID().slice(0, 8)}`
    const bus = createBus(system, scope, { consumerGroup: 'page', logger: silentLogger, registry })
    await bus.connect()
    const letters: readonly ExportedLetter[] = [
      ...HOSTILE.map((text) => letterWith(text)),
      ...LARGE.map((payload, n) => letterWith(`large-${n}`, payload)),
    ]
    const imported = await bus.deadLetters.import(
      letters.map((letter, index) => possibleOn(system, letter, index)),
    )
    const handler = createOperatorHandler({
      buses: { orders: bus },
      authorize: () => ({ name: 'anna', roles: ['see', 'read', 'operate', 'change'] }),
    })
    onTestFinished(() => handler.close())
    await using server = await serve(operatorListener(handler))
    await using blank = await browser.open()
    const answers: Answer[] = []
    const statuses: string[] = []
    let cursor: string | undefined
    let count = 0
    do {
      const page = await bus.deadLetters.list({ limit: 100, ...(cursor !== undefined && { cursor }) })
      for (const { id, errorMessage = '', eventType } of page.deadLetters) {
        count += 1
        const answer = await fetch(`${server.url}/orders/dead-letters/${encodeURIComponent(id)}`)
        const where = errorMessage.slice(0, 40)
        if (answer.status !== 200) statuses.push(`${where}: ${answer.status}`)
        const isText = HOSTILE.includes(errorMessage) || eventType === errorMessage
        answers.push({
          ...{ where, markup: await answer.text(), times: 12 },
          text: isText ? shownText(errorMessage) : '',
        })
      }
      cursor = page.cursor
    } while (cursor !== undefined)
    expect([statuses, count, imported]).toEqual([[], letters.length, letters.length])
    for (let at = 0; at < answers.length; at += 100)
      expect(await faultsIn(blank, answers.slice(at, at + 100))).toEqual([])
  },
)
