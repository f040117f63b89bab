import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, inject, it, onTestFinished } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { createBus, freshPrefix, Noted } from './scene.ts'

const EVENTS = 20_000
const AGGREGATES = 200
const MAX_IN_FLIGHT = 500

interface Worker {
  readonly process: ChildProcess
  /** The events it has handled, as `aggregateId n`. */
  readonly handled: string[]
}

function startWorker(streamPrefix: string): Worker {
  const script = fileURLToPath(new URL('./worker.ts', import.meta.url))
  const child = spawn(process.execPath, [script, inject('redisUrl'), streamPrefix], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const handled: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => handled.push(line))
  return { process: child, handled }
}

/** The numbers of each aggregate, in the order in which one worker handled them. */
function sequences(handled: readonly string[]): readonly (readonly number[])[] {
  const lines = handled.map((line) => line.split(' '))
  return [...Map.groupBy(lines, ([aggregateId]) => aggregateId).values()].map((group) =>
    group.map(([, n]) => Number(n)),
  )
}

it('loses nothing when one of two workers is killed in the middle of 20,000 events', async () => {
  const streamPrefix = freshPrefix()
  const publisher = createBus({ streamPrefix })
  const events = Array.from({ length: EVENTS }, (_, n) => new Noted({ aggregateId: `a${n % AGGREGATES}`, n }))
  const [victim, survivor] = [startWorker(streamPrefix), startWorker(streamPrefix)]
  await waitFor(async () => (await publisher.getStreamInfo()).activeConsumers === 2, { timeoutMs: 15_000 })

  const publishing = (async () => {
    for (let start = 0; start < EVENTS; start += 500)
      await publisher.publish(events.slice(start, start + 500))
  })()
  await waitFor(() => victim.handled.length > 1000, {
    timeoutMs: 15_000,
    describe: () => `${victim.handled.length}`,
  })
  victim.process.kill('SIGKILL')
  await Promise.all([publishing, once(victim.process, 'exit')])
  const union = () => new Set([...victim.handled, ...survivor.handled])
  await waitFor(() => union().size === EVENTS, {
    timeoutMs: 20_000,
    describe: () => `${union().size} handled`,
  })
  survivor.process.kill('SIGTERM')
  await once(survivor.process, 'exit')

  const duplicates = victim.handled.length + survivor.handled.length - EVENTS
  expect(duplicates).toBeLessThanOrEqual(MAX_IN_FLIGHT)
  for (const sequence of sequences(victim.handled))
    expect(sequence).toEqual(sequence.toSorted((a, b) => a - b))
  const before = new Set(victim.handled)
  const fresh = survivor.handled.filter((line) => !before.has(line))
  expect(new Set(fresh).size).toBe(fresh.length)
  expect(survivor.process.exitCode).toBe(0)
})
