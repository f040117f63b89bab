import { gzipSync } from 'node:zlib'
import { type Figures, quantile } from './figures.ts'
import { manyLetters } from './many-letters.ts'
import { openSystem, placed } from './system.ts'
import { heapMB, openTab } from './tab.ts'

/** The list of many dead letters, on the server and in a browser. */
export async function checkLetters(figures: Figures, count: number): Promise<void> {
  await using system = await openSystem(figures.kind)
  await system.page.deadLetters.import(manyLetters(count, placed, () => 'billing'))
  const path = '/orders/dead-letters'
  const answers: { readonly ms: number; readonly text: string }[] = []
  for (let n = 0, at = path; n < 50; n += 1) {
    const startedAt = performance.now()
    const text = await system.get(at)
    answers.push({ ms: performance.now() - startedAt, text })
    at = nextOf(text) ?? path
  }
  figures.atMost(
    'P11 page of the list, server, p95 ms',
    quantile(
      answers.map(({ ms }) => ms),
      0.95,
    ),
    300,
  )
  const sizes = answers.map(({ text }) => gzipSync(text).byteLength)
  figures.atMost('P11 page of the list, gzip bytes', Math.max(...sizes), 100_000)

  await using tab = await openTab()
  const { page } = tab
  await page.goto(system.server.url + path)
  await page.getByRole('link', { name: 'Next page' }).waitFor()
  figures.atMost(
    'P11 nodes of the document',
    await page.evaluate<number>(`document.querySelectorAll('*').length`),
    3000,
  )
  const slowest = page.evaluate<number>(
    `new Promise((done) => {
      let slowest = 0
      new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) slowest = Math.max(slowest, duration) })
        .observe({ type: 'event', durationThreshold: 16 })
      setTimeout(() => done(slowest), 4000)
    })`,
  )
  for (let n = 0; n < 30; n += 1) await page.keyboard.press(n % 5 === 4 ? 'k' : 'j')
  figures.atMost('P11 interaction to next paint, ms', await slowest, 200)
  const before = await heapMB(page)
  for (let n = 0; n < 50; n += 1) {
    const next = page.getByRole('link', { name: 'Next page' })
    await ((await next.count()) > 0 ? next.click() : page.goto(system.server.url + path))
  }
  await page.goto(system.server.url + path)
  figures.atMost('P11 heap after 50 pages, MB more', (await heapMB(page)) - before, 10)
}

function nextOf(text: string): string | undefined {
  return /rel="next" href="([^"]+)"/.exec(text)?.[1]?.replaceAll('&amp;', '&')
}
