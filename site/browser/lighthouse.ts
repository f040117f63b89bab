import { launch } from 'chrome-launcher'
import lighthouse from 'lighthouse'

const CATEGORIES = ['accessibility', 'best-practices']

/** One sentence for each page that Lighthouse does not give 100 points for accessibility and for best practices. */
export async function lighthouseFaults(
  url: string,
  pages: readonly string[],
  chromium: string,
): Promise<readonly string[]> {
  const flags = { chromePath: chromium, chromeFlags: ['--headless=new', '--no-sandbox'] }
  const chrome = await launch(flags)
  try {
    const faults: string[] = []
    for (const page of pages) {
      const settings = { port: chrome.port, onlyCategories: CATEGORIES, output: 'json' } as const
      const { categories = {}, audits = {} } = (await lighthouse(`${url}/${page}`, settings))?.lhr ?? {}
      const failed = Object.values(audits).flatMap(({ id, score }) => (score === 0 ? [id] : []))
      for (const category of CATEGORIES) {
        const points = Math.round((categories[category]?.score ?? 0) * 100)
        if (points < 100) faults.push(`${page}: ${points} points for ${category}: ${failed.join(', ')}`)
      }
    }
    return faults
  } finally {
    chrome.kill()
  }
}
