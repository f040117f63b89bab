import type { HandlerEntry } from '../../handling/handler-entry.ts'

/** Marks the entry among the names of settled handlers. No handler should have a name that starts with a control character. */
const MARK = '\u0001attempts '

/** The failed attempts of handlers whose number differs from that of the delivery. */
export interface AttemptRecord {
  /** Attempts of the delivery that had ended. */
  readonly ended: number
  /** Failed attempts by the name of the handler. */
  readonly byName: ReadonlyMap<string, number>
}

/** What earlier deliveries have recorded. */
export interface DeliveryRecord {
  /** Names of the handlers that succeeded. */
  readonly settled: readonly string[]
  /** Undefined if all handlers have made the attempts of the delivery. */
  readonly attempts: AttemptRecord | undefined
}

/**
 * Adds the attempts to the names of settled handlers, which the transport stores as they are. Adds nothing if the number
 * of the delivery holds for all handlers, or if they have no names.
 */
export function withAttempts(
  settled: readonly string[],
  ended: number,
  failed: ReadonlyMap<HandlerEntry, number>,
): readonly string[] {
  const differing: [string, number][] = []
  for (const [{ id }, attempts] of failed) {
    if (id !== undefined && attempts !== ended) differing.push([id, attempts])
  }
  if (differing.length === 0) return settled
  return [...settled, `${MARK}${JSON.stringify({ ended, byName: Object.fromEntries(differing) })}`]
}

/** Separates the names from the attempts. */
export function readAttempts(recorded: readonly string[]): DeliveryRecord {
  const marked = recorded.filter((entry) => entry.startsWith(MARK))
  if (marked.length === 0) return { settled: recorded, attempts: undefined }
  const settled = recorded.filter((entry) => !entry.startsWith(MARK))
  return { settled, attempts: parse(marked.at(-1)?.slice(MARK.length) ?? '') }
}

function parse(text: string): AttemptRecord | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('ended' in value) || !('byName' in value))
      return undefined
    const { ended, byName } = value
    if (!isCount(ended) || typeof byName !== 'object' || byName === null) return undefined
    const counts = Object.entries(byName).filter((entry): entry is [string, number] => isCount(entry[1]))
    return { ended, byName: new Map(counts) }
  } catch {
    return undefined // other programs may write to the broker, too
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
