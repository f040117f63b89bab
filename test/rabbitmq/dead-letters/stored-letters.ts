import { OrderCreated, orderCreated } from '../../support/order-events.ts'
import { consume, createBus, freshName, plainChannel } from '../scene.ts'

export const LETTERS = 2500

/** An exchange whose group has dead letters, and no handler that would take a replay. */
export async function sceneWithLetters(letters = LETTERS) {
  const exchangeName = freshName()
  const owner = createBus({ exchangeName, maxRetries: 0 })
  owner.subscribe(OrderCreated, () => undefined, { name: 'charge' })
  await consume(owner)
  await owner.shutdown()
  const channel = await plainChannel()
  const ids: string[] = []
  const add = async (count: number) => {
    for (let n = 0; n < count; n += 1) {
      const event = orderCreated(`Order-${n}`)
      ids.push(event.eventId)
      channel.sendToQueue(`${exchangeName}.default.dlq`, Buffer.from(JSON.stringify(event)), {
        messageId: event.eventId,
        headers: {
          event_type: 'OrderCreated',
          'x-dlq-consumer-group': 'default',
          'x-dlq-handlers': '["charge"]',
        },
      })
    }
    await channel.waitForConfirms()
  }
  await add(letters)
  return { exchangeName, ids, add, bus: () => createBus({ exchangeName }) }
}
