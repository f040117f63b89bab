import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { inject, onTestFinished } from 'vitest'
import type { RedisEventBusOptions } from '../../src/redis/index.ts'

/** An event that was handled, in the order of the starts of the handlers. */
export interface HandledNote {
  readonly consumer: string
  readonly aggregateId: string
  readonly n: number
}

/**
 * Events that were handled before their predecessors. A redelivery may go back in the sequence of an aggregate, and then
 * continues without a gap.
 */
export function inversions(handled: readonly HandledNote[]): readonly string[] {
  const last = new Map<string, number>()
  return handled.flatMap(({ consumer, aggregateId, n }) => {
    const before = last.get(aggregateId) ?? -1
    last.set(aggregateId, n)
    return n > before + 1 ? [`${aggregateId}: ${n} after ${before} at ${consumer}`] : []
  })
}

/** Starts a consumer in its own process; killed when the test ends. */
export function startPartitionWorker(
  options: RedisEventBusOptions & { readonly consumerName: string },
  log: string,
  handlerMs = 1,
): ChildProcess {
  const script = fileURLToPath(new URL('./partition-worker.ts', import.meta.url))
  const argument = JSON.stringify({ redisUrl: inject('redisUrl'), handlerMs, log, ...options })
  const child = spawn(process.execPath, [script, argument], { stdio: ['ignore', 'inherit', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}
