import { REPLAY_HANDLERS, replayTarget } from '../../transport/replay-headers.ts'
import type { AmqpMessage } from '../client/client.ts'

/** Since when a message waits, in milliseconds since 1970; now if it does not say so. */
export function waitingSince({ properties }: AmqpMessage): number {
  const header = properties.headers?.[REPLAY_HANDLERS]
  const target = typeof header === 'string' ? replayTarget({ [REPLAY_HANDLERS]: header }) : undefined
  return (target?.earlier?.firstFailedAt ?? new Date()).getTime()
}
