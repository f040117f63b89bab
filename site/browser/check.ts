// npm run docs:check: opens the pages of the built site in Chromium. Fails for what axe finds in the light or the dark theme, for a
// page that needs JavaScript to be read, for errors in the console, and for a search term without its page. Of the reference, whose
// pages are generated alike, it opens two of each kind; `--all` opens all. An argument selects the pages that start with it.
// With `--lighthouse`, Lighthouse must also give each page that is written by hand 100 points.
import { existsSync, globSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { SEARCH_TERMS } from './search-terms.ts'
import { serve } from './serve.ts'

/** Results of a search that a reader looks at. */
const FIRST_RESULTS = 10
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const dist = join(import.meta.dirname, '..', 'dist')

if (!existsSync(dist)) throw new Error('Run first: npm run docs')
const args = process.argv.slice(2)
const [only = ''] = args.filter((arg) => !arg.startsWith('--'))
const built = globSync('**/*.html', { cwd: dist })
const pages = (args.includes('--all') ? built : withoutRepetitions(built)).filter((page) =>
  page.startsWith(only),
)
const { url, close } = await serve(dist)
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
try {
  const faults = [
    ...(await withoutJavaScript(browser)),
    ...(await search(browser)),
    ...(await accessibility(browser, 'light')),
    ...(await accessibility(browser, 'dark')),
    ...(args.includes('--lighthouse') ? await points() : []),
  ]
  for (const fault of faults) console.error(fault)
  console.log(`${pages.length} pages, ${SEARCH_TERMS.length} search terms, ${faults.length} faults`)
  if (faults.length > 0) process.exitCode = 1
} finally {
  await browser.close()
  await close()
}

/** All pages that are written by hand, and two of each kind of the reference. */
function withoutRepetitions(paths: readonly string[]): readonly string[] {
  const counts = new Map<string, number>()
  return paths.toSorted().filter((path) => {
    const kind = /^api\/.+\/(\w[\w-]*)\/[^/]+$/.exec(path)?.[1]
    if (kind === undefined) return true
    const count = (counts.get(kind) ?? 0) + 1
    counts.set(kind, count)
    return count <= 2
  })
}

/** Each page shows its text and its navigation, whose links lead to pages. */
async function withoutJavaScript(from: Browser): Promise<readonly string[]> {
  const context = await from.newContext({ javaScriptEnabled: false })
  const page = await context.newPage()
  const faults: string[] = []
  // VitePress renders the content of 404.html in the browser only.
  for (const path of pages.filter((one) => one !== '404.html')) {
    const response = await page.goto(`${url}/${path}`, { waitUntil: 'domcontentloaded' })
    if (response?.status() !== 200) faults.push(`${path}: status ${response?.status()}`)
    const isReadable = await page.locator('main h1').first().isVisible()
    if (!isReadable) faults.push(`${path}: shows no heading without JavaScript`)
  }
  await page.goto(`${url}/`)
  await page.locator('.VPSidebar a[href$="/tutorial.html"]').first().click()
  const title = await page.locator('h1').first().textContent()
  if (title?.startsWith('Tutorial') !== true) {
    faults.push('index.html: the navigation does not work without JavaScript')
  }
  await context.close()
  return faults
}

async function search(from: Browser): Promise<readonly string[]> {
  const page = await from.newPage()
  await page.goto(`${url}/`)
  await page.locator('.DocSearch-Button').first().click()
  const input = page.locator('.search-input')
  const results = page.locator('.results .result')
  const faults: string[] = []
  for (const [term, expected] of SEARCH_TERMS) {
    await input.fill('')
    await results.first().waitFor({ state: 'detached' })
    await input.fill(term)
    try {
      await results.first().waitFor({ timeout: 60_000 })
      const links = await results.evaluateAll((found) => found.map((link) => link.getAttribute('href') ?? ''))
      const first = links.slice(0, FIRST_RESULTS)
      if (!first.some((link) => link.includes(`/${expected}.html`))) {
        faults.push(`search for "${term}": no ${expected} among ${first.join(' ')}`)
      }
    } catch {
      faults.push(`search for "${term}": nothing found`)
    }
  }
  await page.close()
  return faults
}

async function accessibility(from: Browser, colorScheme: 'light' | 'dark'): Promise<readonly string[]> {
  const context = await from.newContext({ colorScheme, bypassCSP: true })
  const page = await context.newPage()
  const faults: string[] = []
  let path = ''
  const report = (fault: string) => faults.push(`${path} (${colorScheme}): ${fault}`)
  page.on('console', (message) => {
    if (message.type() === 'error') report(message.text())
  })
  page.on('pageerror', (error) => report(String(error)))
  page.on('requestfailed', (request) => {
    // The browser aborts what a page prefetches if the next page is opened.
    const { errorText = '' } = request.failure() ?? {}
    if (errorText !== 'net::ERR_ABORTED') report(`failed ${request.url()}: ${errorText}`)
  })
  page.on('response', (response) => {
    if (response.status() >= 400) report(`status ${response.status()} of ${response.url()}`)
  })
  for (path of pages) {
    await page.goto(`${url}/${path}`, { waitUntil: 'load' })
    for (const violation of await violations(page)) report(violation)
  }
  await context.close()
  return faults
}

async function points(): Promise<readonly string[]> {
  const { lighthouseFaults } = await import('./lighthouse.ts')
  return lighthouseFaults(
    url,
    pages.filter((page) => !page.includes('/')),
    CHROMIUM,
  )
}

interface AxeResults {
  readonly violations: readonly {
    readonly id: string
    readonly nodes: readonly { readonly target: readonly string[]; readonly failureSummary?: string }[]
  }[]
}

async function violations(page: Page): Promise<readonly string[]> {
  await page.addScriptTag({ path: AXE })
  // The script defines `axe`.
  const results = (await page.evaluate('axe.run()')) as AxeResults
  return results.violations.map(({ id, nodes }) => {
    const [first] = nodes
    const summary = first?.failureSummary?.replaceAll(/\s+/g, ' ').slice(0, 200)
    return `${id}, ${nodes.length} times, such as ${first?.target.join(' ')}: ${summary}`
  })
}
