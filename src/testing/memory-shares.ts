import type { PendingMessage } from './memory-message.ts'

/** What a group knows of the messages and consumers that share them. */
export interface SharingGroup {
  readonly pending: Map<string, PendingMessage>
  /** The consumers that share the aggregates; see `MemoryBroker.take`. */
  readonly sharing: Set<string>
}

/** @returns a function that is true for messages that the consumer may take. */
export function aggregatesOf(
  { pending, sharing }: SharingGroup,
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
  { pending }: Pick<SharingGroup, 'pending'>,
  isFree: (message: PendingMessage) => boolean,
): PendingMessage | undefined {
  for (const message of pending.values())
    if (message.consumer === undefined && isFree(message)) return message
  return undefined
}
