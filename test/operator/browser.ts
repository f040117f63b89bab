import { type Browser, type BrowserContext, type BrowserContextOptions, chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { findProgram, requirePrograms } from '../brokers/programs.ts'
import { paced } from '../support/pace.ts'

let browser: Promise<Browser> | undefined

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
  return chromium.launch({ executablePath, args: ['--no-sandbox'] })
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
    if (!['127.0.0.1', 'localhost'].includes(new URL(request.url()).hostname))
      note(`request to ${request.url()}`)
  })
  return faults
}
