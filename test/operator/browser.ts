import { readFileSync } from 'node:fs'
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { findProgram, requirePrograms } from '../brokers/programs.ts'
import { paced } from '../support/pace.ts'

let browser: Promise<Browser> | undefined

/** A name that the browser resolves to this machine, as a site does that rebinds its name. */
export const REBOUND = 'rebound.example'

/** Debian's Chromium, one for all tests of a file. */
export function useBrowser() {
  beforeAll(() => requirePrograms('chromium'), paced(300_000))
  afterAll(async () => {
    const running = await browser
    browser = undefined
    await running?.close()
  })
  return {
    /** A page of its own profile. What it logs, and each request that fails or leaves the machine, fails the test. */
    open: async (options: BrowserContextOptions & { readonly expected?: RegExp } = {}) => {
      browser ??= launch()
      const { expected, ...others } = options
      const context = await (await browser).newContext({ viewport: { width: 1280, height: 800 }, ...others })
      const faults = faultsOf(context, expected)
      onTestFinished(async () => {
        await context.close()
        expect(faults).toEqual([])
      })
      return context.newPage()
    },
  }
}

async function launch(): Promise<Browser> {
  const executablePath = await findProgram('chromium')
  if (executablePath === undefined) throw new Error('chromium is not installed')
  // In a container, the sandbox lacks the rights that it needs.
  const args = ['--no-sandbox', `--host-resolver-rules=MAP ${REBOUND} 127.0.0.1`]
  return chromium.launch({ executablePath, args })
}

function faultsOf(context: BrowserContext, expected: RegExp | undefined): readonly string[] {
  const faults: string[] = []
  const note = (text: string) => {
    if (expected?.test(text) !== true) faults.push(text)
  }
  context.on('console', (message) => {
    if (message.type() !== 'log') note(message.text())
  })
  context.on('weberror', (error) => note(String(error.error())))
  context.on('dialog', (dialog) => note(`dialog: ${dialog.message()}`))
  context.on('requestfailed', (request) => {
    // A refresh that is under way ends with its page.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED')
      note(`${request.url()}: ${request.failure()?.errorText}`)
  })
  context.on('request', (request) => {
    if (!['127.0.0.1', 'localhost', REBOUND].includes(new URL(request.url()).hostname))
      note(`request to ${request.url()}`)
  })
  return faults
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
