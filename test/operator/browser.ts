import { readFileSync } from 'node:fs'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

/** Chromium of the machine; Debian's package, or the one that the variable names. */
const EXECUTABLE = process.env['EVENTSPINE_CHROMIUM'] ?? '/usr/bin/chromium'

export function launchBrowser(): Promise<Browser> {
  // A container runs as root, for which Chromium has no sandbox.
  return chromium.launch({ executablePath: EXECUTABLE, args: ['--no-sandbox'] })
}

/** A page that collects what must not happen: errors, refused scripts and styles, failed requests, requests elsewhere, dialogs. */
export async function openPage(browser: Browser, origin: string, options: BrowserContextOptions = {}) {
  const context = await browser.newContext({ baseURL: origin, ...options })
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) faults.push(message.text())
  })
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`)) faults.push(`request to ${request.url()}`)
  })
  return { page, faults, [Symbol.asyncDispose]: () => context.close() }
}

const axeSource = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8')

/** Serious and critical faults of accessibility. The context of the page must have `bypassCSP`. */
export async function axeFaults(page: Page): Promise<readonly string[]> {
  await page.addScriptTag({ content: axeSource })
  return page.evaluate(async () => {
    // The script that was added has set it.
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> }
    }
    const { violations } = await axe.run()
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' | ')}`)
  })
}

/** How far the page can be scrolled sideways, in pixels. */
export function sidewaysScroll(page: Page): Promise<number> {
  return page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth')
}
