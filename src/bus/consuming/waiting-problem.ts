import type { GivenPolicy } from '../../handling/handler-policy.ts'
import { keepsOrder, mayWait, parks } from '../../handling/waiting-policy.ts'
import type { Transport } from '../../transport/transport.ts'
import { BROADCAST_KEEPS_NOTHING } from '../broadcast.ts'

/** The bus whose handler has a policy. */
export interface WaitingBus {
  readonly transport: Pick<Transport, 'system' | 'waiting'>
  readonly broadcast: boolean
  readonly enableDlq: boolean
}

/** Why events cannot wait on the broker as the policy of a handler wants it; undefined if they can. */
export function waitingProblem(
  policy: GivenPolicy,
  { transport: { system, waiting }, broadcast, enableDlq }: WaitingBus,
): string | undefined {
  if (!mayWait({ policy })) return undefined
  const option = policy.longWaits === undefined ? 'onDeadLetter' : 'longWaits'
  if (broadcast) return `${option}: ${BROADCAST_KEEPS_NOTHING}`
  if (waiting === undefined) {
    return policy.longWaits === undefined
      ? `onDeadLetter: the transport ${system} cannot keep events behind a dead letter`
      : `longWaits: the transport ${system} cannot keep events during long waits`
  }
  const { orderProblem, parkProblem } = waiting
  if (keepsOrder({ policy }) && orderProblem !== undefined) {
    return `longWaits: order must be 'giveUp', because ${orderProblem}`
  }
  if (!parks({ policy })) return undefined
  if (!enableDlq) return "onDeadLetter: 'park' needs the dead letter queue: set enableDlq to true"
  return parkProblem === undefined
    ? undefined
    : `onDeadLetter: 'park' is not possible, because ${parkProblem}`
}
