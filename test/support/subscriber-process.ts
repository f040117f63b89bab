import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { StoresPlace } from './stores-of.ts'

export interface SubscriberOptions {
  readonly place: StoresPlace
  readonly instanceId: string
  readonly leaseTtlMs: number
}

/** A process with a subscription under a lease. The end of the test kills it. */
export function startSubscriber(options: SubscriberOptions) {
  const program = fileURLToPath(new URL('subscriber-program.ts', import.meta.url))
  const child = spawn(process.execPath, [program, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await closed
  })
  const handled: string[] = []
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    handled.push(...lines)
  })
  return {
    /** The ids of the events that it has handled, in order. */
    handled,
    signal: (signal: NodeJS.Signals) => void child.kill(signal),
    async stop() {
      child.kill('SIGTERM')
      await closed
    },
  }
}
