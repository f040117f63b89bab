import type { AmqpChannel, AmqpMessage } from './client.ts'

/** What is in a small queue that serves as a notebook. It goes back when the channel closes, if not acknowledged. */
export async function takeNotes(
  channel: AmqpChannel,
  queue: string,
  count: number,
): Promise<readonly AmqpMessage[]> {
  const notes: AmqpMessage[] = []
  for (let taken = 0; taken < count; taken += 1) {
    const note = await channel.get(queue)
    if (note === false) break
    notes.push(note)
  }
  return notes
}

/** Resolves when the note is safe. */
export function publishNote(channel: AmqpChannel, queue: string, text: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  channel.publish('', queue, Buffer.from(text), { deliveryMode: 2, mandatory: false }, (error) =>
    error === null ? resolve() : reject(error),
  )
  return promise
}
