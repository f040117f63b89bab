import { expect, inject, it } from 'vitest'
import { runBundle } from '../bundles/bundle.ts'
import { freshPrefix } from './scene.ts'

const program = `
import { defineEvent, RedisEventBus } from 'eventspine'
class Noted extends defineEvent<{ n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}
const [redisUrl, streamPrefix] = process.argv.slice(2)
const bus = new RedisEventBus({ redisUrl, streamPrefix })
async function main() {
  const handled = new Promise((resolve) => bus.subscribe(Noted, ({ n }) => resolve(n)))
  bus.startConsumingInBackground()
  await bus.publish([new Noted({ aggregateId: 'a', n: 7 })])
  console.log('handled', await handled)
  await bus.shutdown()
}
void main()
`

it.each(['esm', 'cjs'] as const)('publishes and consumes from inside one file (%s)', async (format) => {
  const args = [inject('redisUrl'), freshPrefix()]

  expect(await runBundle({ program, format, installed: ['redis'], args })).toBe('handled 7\n')
})
