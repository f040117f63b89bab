import type { ParkedEvent, SubscriptionDeadLetterStore } from './dead-letter-store.ts'

const PAGE = 100

/** Moves the dead-lettered events of one name to another one, or removes them, in pages. */
export async function moveParked(
  deadLetters: SubscriptionDeadLetterStore,
  from: string,
  to: string | undefined,
): Promise<void> {
  for (let after: ParkedEvent | undefined; ; ) {
    const page = await deadLetters.list({ subscription: from, after, limit: PAGE })
    for (const parked of page) {
      await deadLetters.remove(from, parked.position)
      if (to !== undefined) await deadLetters.add({ ...parked, subscription: to })
    }
    after = page.at(-1)
    if (page.length < PAGE) return
  }
}
