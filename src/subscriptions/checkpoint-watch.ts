import { sleep } from '../kit/time.ts'
import { checkOrigin } from './checkpoint-origin.ts'
import { ForeignCheckpointError, PositionAheadError, SubscriptionNotFoundError } from './errors.ts'
import type { SubscriptionHost } from './feed-subscription.ts'

/** Delay between two reads of a checkpoint, in milliseconds. It doubles up to the longest one. */
const SHORTEST_MS = 20
const LONGEST_MS = 1000

/** Never aborts. */
const NO_SIGNAL = new AbortController().signal

/**
 * Resolves when the checkpoint of a subscription that other processes run has reached a position. It reads again while a
 * store does not answer.
 *
 * @throws SubscriptionNotFoundError if there is no checkpoint; ForeignCheckpointError or PositionAheadError if it belongs to
 * another store; the reason of the signal.
 */
export async function checkpointReached(
  { store, checkpoints }: Pick<SubscriptionHost, 'store' | 'checkpoints'>,
  name: string,
  position: number,
  signal: AbortSignal = NO_SIGNAL,
): Promise<void> {
  for (let delayMs = SHORTEST_MS; ; delayMs = Math.min(delayMs * 2, LONGEST_MS)) {
    signal.throwIfAborted()
    try {
      const checkpoint = await checkpoints.load(name)
      if (checkpoint === undefined) throw new SubscriptionNotFoundError(name, [])
      if (checkpoint.position >= position) return await checkOrigin(store, name, checkpoint)
    } catch (thrown) {
      if (isFinal(thrown)) throw thrown
    }
    await sleep(delayMs, signal)
  }
}

const isFinal = (thrown: unknown): boolean =>
  thrown instanceof SubscriptionNotFoundError ||
  thrown instanceof ForeignCheckpointError ||
  thrown instanceof PositionAheadError
