import { sleep } from '../../kit/time.ts'
import { isLocked } from '../errors.ts'
import type { WithChannel } from './connection.ts'

/** Longest wait for another worker, in milliseconds. One whose connection hangs keeps the lock until its heartbeats end. */
const MAX_WAIT_MS = 3000
const RETRY_MS = 30
const NEVER = new AbortController().signal

/**
 * Runs work while no other worker of the group does so. The lock is an exclusive queue, which the broker deletes when the
 * connection ends. If the lock is not free in time, the work runs without it.
 */
export async function withDeclarationLock<T>(
  withChannel: WithChannel,
  queue: string,
  work: () => Promise<T>,
): Promise<T> {
  const end = performance.now() + MAX_WAIT_MS
  let isHeld = await take(withChannel, queue)
  while (!isHeld && performance.now() < end) {
    await sleep(RETRY_MS, NEVER)
    isHeld = await take(withChannel, queue)
  }
  try {
    return await work()
  } finally {
    // A connection that is lost gives the lock back, too.
    if (isHeld) await withChannel((channel) => channel.deleteQueue(queue)).catch(() => undefined)
  }
}

/** @returns false if another connection holds the lock. */
function take(withChannel: WithChannel, queue: string): Promise<boolean> {
  return withChannel(async (channel) => {
    try {
      await channel.assertQueue(queue, {
        ...{ exclusive: true, durable: false, autoDelete: false },
        arguments: { 'x-queue-type': 'classic' },
      })
      return true
    } catch (error) {
      if (isLocked(error)) return false
      throw error
    }
  })
}
