import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ConfigError, type HandlerContext, ShutdownError } from '../../src/index.ts'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'
import { append, type Noted, SubscriptionScene } from './subscription-scene.ts'

describe('stop', () => {
  it('lets the running handler end, starts no other, and saves the finished events', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 5)
    const gate = Promise.withResolvers<void>()
    const begun: number[] = []
    const handle = async ({ n }: Noted) => {
      begun.push(n)
      if (n === 2) await gate.promise
    }
    const manager = scene.manager()
    manager.subscribe({ name: 'slow', handle })
    manager.start()
    await waitFor(() => begun.length === 3)
    const stopping = manager.stop()
    gate.resolve()

    expect(await stopping).toMatchObject({
      phase: 'completed',
      reason: 'stop',
      subscriptionsStopped: 1,
      inFlight: 1,
      drained: 1,
      notDrained: 0,
      checkpointsSaved: 1,
    })
    expect(begun).toEqual([0, 1, 2])
    expect((await scene.checkpoints.load('slow'))?.position).toBe(3)
  })

  it('ends in time although a handler hangs, aborts its signal, and does not save its event', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 5)
    const reasons: unknown[] = []
    const late = Promise.withResolvers<void>()
    const handle = ({ n }: Noted, { signal }: HandlerContext) => {
      if (n < 2) return undefined
      signal.addEventListener('abort', () => reasons.push(signal.reason))
      return late.promise
    }
    const manager = scene.manager()
    manager.subscribe({ name: 'hanging', handle })
    manager.start()
    await waitFor(async () => (await manager.status())['hanging']?.position === 2)

    const report = await manager.stop({ timeoutMs: 50 })

    expect(report).toMatchObject({
      phase: 'timedOut',
      inFlight: 1,
      drained: 0,
      notDrained: 1,
      checkpointsSaved: 1,
    })
    expect(report.durationMs).toBeLessThan(paced(1000))
    expect(reasons).toEqual([expect.any(ShutdownError)])
    late.resolve()
    await manager.stop()
    await nextTurn()
    expect((await scene.checkpoints.load('hanging'))?.position).toBe(2)
    expect((await manager.status())['hanging']).toMatchObject({ position: 2, eventsHandled: 2 })
  })

  it('ends in time although the checkpoint store hangs', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 5)
    scene.checkpoints.save = () => new Promise(() => undefined)
    const manager = scene.manager()
    manager.subscribe({ name: 'seen', handle: () => undefined })
    manager.start()
    await manager.whenProcessed(5)

    expect(await manager.stop({ timeoutMs: 30 })).toMatchObject({ phase: 'timedOut', checkpointsSaved: 0 })
  })

  it.each(['load', 'save'] as const)(
    'is started again after a stop that a hanging %s of the checkpoint outlasted',
    async (name) => {
      const scene = new SubscriptionScene()
      await append(scene.store, 0, 5)
      const { checkpoints } = scene
      const whole = { load: checkpoints.load.bind(checkpoints), save: checkpoints.save.bind(checkpoints) }
      let calls = 0
      const hang = () => {
        calls += 1
        return new Promise(() => undefined)
      }
      Object.assign(checkpoints, { [name]: hang })
      const manager = scene.manager()
      manager.subscribe({ name: 'seen', handle: () => undefined }, { startFrom: 2 })
      manager.start()
      await waitFor(() => calls === 1)
      await manager.stop({ timeoutMs: 20 })
      Object.assign(checkpoints, whole)

      manager.start()
      await manager.whenCaughtUp('seen')
      await manager.stop()
      expect((await checkpoints.load('seen'))?.position).toBe(5)
    },
  )

  it('ends a wait between two attempts at once, and repeats the event later', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 1)
    let attempts = 0
    const handle = () => {
      attempts += 1
      if (attempts === 1) throw new Error('as told')
    }
    const manager = scene.manager()
    manager.subscribe({ name: 'flaky', handle }, { retryBaseDelayMs: 60_000 })
    manager.start()
    await waitFor(() => attempts === 1)
    expect(await manager.stop()).toMatchObject({ phase: 'completed', inFlight: 0 })
    expect((await scene.checkpoints.load('flaky'))?.position).not.toBe(1)

    manager.start()
    await manager.whenCaughtUp('flaky')
    expect(attempts).toBe(2)
  })

  it('is a no-op if nothing runs, can be called twice, and works with await using', async () => {
    const scene = new SubscriptionScene()
    {
      await using manager = scene.manager()
      manager.subscribe({ name: 'seen', handle: () => undefined })
      manager.start()
      await Promise.all([manager.stop(), manager.stop()])
      expect(await manager.stop()).toMatchObject({ phase: 'completed' })
      expect(manager.isStarted).toBe(false)
      await expect(manager.stop({ timeoutMs: -1 })).rejects.toThrow(ConfigError)
    }
  })
})

describe('runUntilShutdown', () => {
  interface Program {
    readonly process: ChildProcess
    readonly lines: string[]
  }

  function run(mode: 'slow' | 'hanging'): Program {
    const script = fileURLToPath(new URL('./shutdown-program.ts', import.meta.url))
    const child = spawn(process.execPath, [script, mode], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    const lines: string[] = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
    return { process: child, lines }
  }

  /** The last line that the program wrote. */
  async function ended({ process, lines }: Program): Promise<Record<string, unknown>> {
    if (process.exitCode === null) await once(process, 'exit')
    await waitFor(() => lines.at(-1)?.startsWith('{'))
    expect(process.exitCode).toBe(0)
    return JSON.parse(lines.at(-1) ?? '')
  }

  it('drains at SIGTERM during a catch-up, and lets the process exit on its own', async () => {
    const program = run('slow')
    await waitFor(() => program.lines.includes('began 5'))
    program.process.kill('SIGTERM')
    const report = await ended(program)

    const began = program.lines.filter((line) => line.startsWith('began')).length
    const done = program.lines.filter((line) => line.startsWith('done')).length
    expect(done).toBe(began)
    expect(report).toMatchObject({
      phase: 'completed',
      reason: 'SIGTERM',
      drained: 1,
      notDrained: 0,
      checkpoint: done,
    })
  })

  it('ends at once at a second signal', async () => {
    const program = run('hanging')
    await waitFor(() => program.lines.includes('began 0'))
    program.process.kill('SIGINT')
    await waitFor(() => program.lines.includes('asked'))
    program.process.kill('SIGTERM')

    expect(await ended(program)).toMatchObject({
      phase: 'forced',
      reason: 'SIGINT',
      notDrained: 1,
      checkpointsSaved: 1,
    })
  })
})
