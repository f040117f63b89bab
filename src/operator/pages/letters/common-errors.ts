import { bodyOfSample, type DeadLetterGroup } from '../../../bus/index.ts'
import type { RequestContext } from '../../context.ts'
import type { Masker } from '../../mask.ts'
import { hiddenIn } from '../../masked-body.ts'
import { LetterReads } from './letter-reads.ts'

/** The overview counts again after this time, in milliseconds, and does not wait for the first count. */
const FRESH_MS = 15_000
const WAIT_MS = 50

/** The error by which the dead letters of a list are counted, without what is masked. */
export function errorOf({ key, sample }: DeadLetterGroup, mask: Masker): string {
  const body = bodyOfSample(sample)
  return mask.text(key, body === undefined ? [] : hiddenIn(body, mask))
}

/** The most frequent error of a group. */
export interface CommonError extends Pick<DeadLetterGroup, 'count' | 'firstAt'> {
  readonly error: string
  /** The dead letters of the group that were counted, which may be fewer than there are now. */
  readonly counted: number
}

/** The most frequent error of each group, of those that no other group has; none before they are counted. */
export async function commonErrors(context: RequestContext): Promise<ReadonlyMap<string, CommonError>> {
  const { deadLetters: queue, busName: bus, mask } = context
  if (queue === undefined) return new Map()
  const query = { bus, filter: {}, line: '' }
  const counts = await context
    .state(LetterReads.key)
    .counts(queue, query, { waitMs: WAIT_MS, freshMs: FRESH_MS })
    .catch(() => undefined) // the overview shows that the broker is away
  const common = new Map<string, CommonError>()
  // The largest comes first.
  for (const one of counts?.isComplete ? (counts.value?.groups ?? []) : []) {
    const [name = '', ...others] = one.consumerGroups
    if (others.length > 0) continue
    const { count, firstAt, error } = common.get(name) ?? { ...one, error: errorOf(one, mask) }
    common.set(name, { count, firstAt, error, counted: (common.get(name)?.counted ?? 0) + one.count })
  }
  return common
}
