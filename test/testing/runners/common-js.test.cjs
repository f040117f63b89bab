// Jest runs this file, too: CommonJS needs Jest 30.5 and Node.js 24.9.
const { defineEvent } = require('eventspine')
const { TestBus } = require('eventspine/testing')

class OrderPlaced extends defineEvent()({ type: 'OrderPlaced', aggregateType: 'Order' }) {}

globalThis.test('a test in CommonJS can require the package', async () => {
  const kit = await TestBus.start((bus) => bus.subscribe(OrderPlaced, () => {}, { name: 'invoice' }))
  const run = await kit.publish(new OrderPlaced({ aggregateId: 'Order-1' }))
  run.expectHandled('invoice')
  await kit.stop()
})
