import { connect } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { consume, createBus, freshPrefix, Noted, notes, startProxy, withLatency } from '../scene.ts'

it('runs only the handlers that have not succeeded after a redelivery', async () => {
  const streamPrefix = freshPrefix()
  const calls: string[] = []
  // On a busy machine, many retries pass before the shutdown.
  const first = createBus({ streamPrefix, maxRetries: 1000, retryBaseDelayMs: 20, retryMaxDelayMs: 20 })
  first.subscribe(Noted, () => calls.push('good'), { name: 'good' })
  const fail = () => {
    throw new Error('not yet')
  }
  first.subscribe(Noted, fail, { name: 'bad' })
  const second = createBus({ streamPrefix })
  second.subscribe(Noted, () => calls.push('good again'), { name: 'good' })
  second.subscribe(Noted, () => calls.push('bad'), { name: 'bad' })
  await consume(first)

  await first.publish(notes('a', 1))
  await waitFor(() => first.getStats().eventsRetried > 0)
  await first.shutdown()
  await consume(second)

  await waitFor(() => calls.includes('bad'))
  expect(calls).toEqual(['good', 'bad'])
})

it('acknowledges earlier events before it records an attempt, which may kill the process', async () => {
  const { proxy, redisUrl, broker } = await startProxy()
  const monitor = connect(broker)
  onTestFinished(() => {
    monitor.destroy()
  })
  let commands = ''
  monitor.on('data', (chunk) => {
    commands += String(chunk)
  })
  monitor.write('MONITOR\r\n')
  await waitFor(() => commands.includes('OK'))
  const streamPrefix = freshPrefix()
  const bus = createBus({ streamPrefix, redisUrl, retryBaseDelayMs: 1 })
  const acknowledged = (count: number) => countOf(`"XACK" "${streamPrefix}:stream"`, commands) >= count
  const handled: string[] = []
  bus.subscribe(Noted, async ({ aggregateId }, { attempt }) => {
    // The acknowledgment of the first event is in flight while the second is handled and the third fails.
    if (aggregateId === 'second') await waitFor(() => acknowledged(1))
    if (aggregateId === 'third' && attempt === 1) {
      await waitFor(() => handled.includes('second'))
      throw new Error('first attempt')
    }
    handled.push(aggregateId)
  })
  await consume(bus)
  proxy.degrade(withLatency(100))

  await createBus({ streamPrefix }).publish(['first', 'second', 'third'].flatMap((id) => notes(id, 1)))
  await waitFor(() => handled.length === 3 && acknowledged(3))

  const ours = commands.split('\n').filter((line) => line.includes(`"${streamPrefix}:`))
  const second = ours.findIndex(
    (line, index) => line.includes('"XACK"') && countOf('"XACK"', ours.slice(0, index).join()) === 1,
  )
  const note = ours.findIndex((line) => /"EVAL(SHA)?"/.test(line) && line.includes('retry'))
  expect(note).toBeGreaterThan(second)
  expect(second).toBeGreaterThan(0)
})

function countOf(part: string, text: string): number {
  return text.split(part).length - 1
}
