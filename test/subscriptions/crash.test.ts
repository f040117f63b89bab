import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { FileCheckpointStore } from '../../src/index.ts'
import { waitFor } from '../support/wait-for.ts'
import { numbers } from './subscription-scene.ts'

const STORED = 100_000
const LIVE = 10_000
const CHECKPOINT_EVERY = 500
const KILLS = 4
const script = fileURLToPath(new URL('./crash-program.ts', import.meta.url))

it('misses nothing when it is killed at random points, and repeats only events after the last checkpoint', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-crash-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const log = join(folder, 'log')
  const checkpoints = new FileCheckpointStore(join(folder, 'checkpoints'))
  const handled = () => readFileSync(log, 'utf8').split('\n')
  /** Bytes of the whole log, without the repetitions. */
  const whole = numbers(0, STORED + LIVE).join('\n').length
  const start = () => {
    const args = [script, join(folder, 'checkpoints'), log, String(STORED), String(LIVE)]
    const child = spawn(process.execPath, args, { stdio: 'inherit' })
    onTestFinished(() => void child.kill('SIGKILL'))
    return child
  }

  const resumedAt: number[] = []
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const child = start()
    const bytes = (whole * (kill - 1 + Math.random())) / KILLS
    await waitFor(() => statSync(log).size > bytes || child.exitCode !== null, {
      timeoutMs: 20_000,
      intervalMs: 1,
    })
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    resumedAt.push((await checkpoints.load('crashing'))?.position ?? 0)
  }
  const last = start()
  const [code] = await once(last, 'exit')
  expect(code).toBe(0)

  const runs = handled()
    .join('\n')
    .split(/^resumed /m)
    .slice(1)
    .map((text) =>
      text
        .split('\n')
        .filter((line) => line !== '' && line !== 'ended')
        .map(Number),
    )
  const seen = new Set<number>()
  for (const [index, [from = 0, ...order]] of runs.entries()) {
    expect(from, `where run ${index} resumed`).toBe(index === 0 ? 0 : resumedAt[index - 1])
    expect(order, `order of run ${index}, resumed at ${from}`).toEqual(numbers(from, from + order.length))
    const repeated = order.filter((n) => seen.has(n)).length
    expect(repeated, `repeated by run ${index}`).toBeLessThanOrEqual(CHECKPOINT_EVERY)
    for (const n of order) seen.add(n)
  }
  expect(seen.size).toBe(STORED + LIVE)
  expect((await checkpoints.load('crashing'))?.position).toBe(STORED + LIVE)
})
