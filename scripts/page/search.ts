import { setTimeout as wait } from 'node:timers/promises'
import type { Figures } from './figures.ts'
import { openSystem, placed, publish } from './system.ts'

/** Searches among many events: the first hit, its progress, and the end of the read after a cancel. */
export async function checkSearch(figures: Figures, count: number): Promise<void> {
  await using system = await openSystem(figures.kind)
  const { get, read, open } = system
  const events = Array.from({ length: count }, (_, n) => placed(n))
  await publish(open('web'), events)
  const old = events[Math.floor(count / 100)]
  const filters = {
    id: `id:${old?.eventId}`,
    aggregate: `aggregate:${old?.aggregateId}`,
    correlation: `correlation:${old?.correlationId}`,
    type: 'type:Placed',
    time: `before:${old?.occurredAt.toISOString()}`,
  }
  for (const [name, filter] of Object.entries(filters)) {
    const path = `/orders/events?${new URLSearchParams({ filter })}`
    const startedAt = performance.now()
    let text = await get(path)
    let hasProgress = false
    while (!text.includes('data-row') && performance.now() - startedAt < 60_000) {
      hasProgress ||= /searching: scanned [\d,]+ of [\d,]+/.test(text)
      await wait(50)
      text = await get(path)
    }
    const ms = performance.now() - startedAt
    figures.atMost(`P4 first hit by ${name}, ms`, ms, 2000)
    if (ms > 1000) figures.atLeast(`P4 progress by ${name} shown`, hasProgress ? 1 : 0, 1)
  }
  const path = `/orders/events?${new URLSearchParams({ filter: 'type:Nothing text:nothing' })}`
  const running = await get(path)
  const cancel = /href="([^"]+)">Cancel the search/.exec(running)?.[1]?.replaceAll('&amp;', '&')
  if (cancel === undefined) {
    // The whole search took less time than a page waits for it.
    figures.atLeast('P4 search that finds nothing ended before it could be cancelled', 1, 1)
    return
  }
  const cancelledAt = performance.now()
  await get(cancel)
  let last = { bytes: read.bytes, at: performance.now() }
  // Ended when no byte has come for half a second, apart from heartbeats.
  while (performance.now() - last.at < 500 && performance.now() - cancelledAt < 30_000) {
    await wait(20)
    if (read.bytes - last.bytes > 2000) last = { bytes: read.bytes, at: performance.now() }
  }
  figures.atMost('P4 last byte after a cancel, ms', last.at - cancelledAt, 1000)
}
