import type { PendingMessage } from './memory-message.ts'

/** What the consumers of a group share. */
interface SharedGroup {
  readonly pending: ReadonlyMap<string, PendingMessage>
  /** The consumers that share the aggregates. */
  readonly sharing: Set<string>
}

/** @returns a function that is true for messages that the consumer may take. */
export function aggregatesOf(
  { pending, sharing }: SharedGroup,
  consumer: string,
): (message: Pick<PendingMessage, 'key'>) => boolean {
  sharing.add(consumer)
  const consumers = [...sharing]
  const owners = new Map<string, string>()
  for (const { key, consumer: owner } of pending.values()) {
    if (key !== undefined && owner !== undefined) owners.set(key, owner)
  }
  return ({ key }) => {
    if (key === undefined) return true
    const isOwn = consumers[shareOf(key, consumers.length)] === consumer
    return isOwn && (owners.get(key) ?? consumer) === consumer
  }
}

/** The share of an aggregate, by a hash. */
function shareOf(key: string, shares: number): number {
  let hash = 0
  for (const character of key) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) | 0
  return (hash >>> 0) % shares
}

/** The first message that no consumer holds, and that may be taken. */
export function waitingIn(
  { pending }: Pick<SharedGroup, 'pending'>,
  isFree: (message: PendingMessage) => boolean,
): PendingMessage | undefined {
  for (const message of pending.values())
    if (message.consumer === undefined && isFree(message)) return message
  return undefined
}
