import type { EntryOwner, HeldEntry } from '../../../src/redis/consuming/held-entry.ts'

/** An owner that accepts everything and records the calls. */
export class RecordingOwner implements EntryOwner {
  readonly leaseMs = 1000
  isCurrent = true
  readonly calls: string[] = []
  blocked: HeldEntry | undefined

  ack({ message }: HeldEntry): void {
    this.calls.push(`ack ${message.id}`)
  }

  takeFinished(): boolean {
    return false
  }

  deadLetter({ message }: HeldEntry): Promise<boolean> {
    this.calls.push(`deadLetter ${message.id}`)
    return Promise.resolve(true)
  }

  postpone({ message }: HeldEntry): Promise<boolean> {
    this.calls.push(`postpone ${message.id}`)
    return Promise.resolve(true)
  }

  waitBehind({ message }: HeldEntry): Promise<number> {
    this.calls.push(`waitBehind ${message.id}`)
    return Promise.resolve(0)
  }

  passOn({ message }: HeldEntry): Promise<boolean> {
    this.calls.push(`passOn ${message.id}`)
    return Promise.resolve(true)
  }

  recordAttempt(
    { message }: HeldEntry,
    attempt: number,
    settledHandlers: readonly string[],
  ): Promise<boolean> {
    this.calls.push(`recordAttempt ${message.id} ${attempt} [${settledHandlers.join()}]`)
    return Promise.resolve(true)
  }

  isBlocked(entry: HeldEntry): boolean {
    return entry === this.blocked
  }

  onRefused({ message }: HeldEntry): void {
    this.calls.push(`onRefused ${message.id}`)
  }
}
