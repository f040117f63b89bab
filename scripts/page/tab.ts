import { chromium, type Page } from 'playwright-core'
import { findProgram, requirePrograms } from '../../test/brokers/programs.ts'

/** A tab of a browser of its own. */
export async function openTab() {
  await requirePrograms('chromium')
  const executablePath = await findProgram('chromium')
  if (executablePath === undefined) throw new Error('chromium is not installed')
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } })
  return { page, [Symbol.asyncDispose]: () => browser.close() }
}

/** The heap of a tab after its garbage was collected, in MB. */
export async function heapMB(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page)
  await session.send('HeapProfiler.collectGarbage')
  const { usedSize } = await session.send('Runtime.getHeapUsage')
  await session.detach()
  return usedSize / 1024 / 1024
}

/** Measures how long the main thread of a tab is busy from now on, in seconds. */
export async function busyOf(page: Page): Promise<() => Promise<number>> {
  const session = await page.context().newCDPSession(page)
  await session.send('Performance.enable')
  const total = async () => {
    const { metrics } = await session.send('Performance.getMetrics')
    return metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN
  }
  const before = await total()
  return async () => (await total()) - before
}
