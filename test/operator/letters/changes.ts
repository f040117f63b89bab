import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import type { useBrowser } from '../browser.ts'
import type { Press, Scene } from './story.ts'

interface Session {
  readonly scene: Scene
  readonly page: Page
  readonly press: Press
  /** Waits until the page shows a text. Without a script, it is loaded again for that. */
  readonly shows: (where: Page, text: string | RegExp) => Promise<unknown>
}

/** Replaces the text of a field by keys. */
async function type(page: Page, label: string | RegExp, text: string): Promise<void> {
  const field = page.getByLabel(label)
  await field.focus()
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.insertText(text)
  expect(await field.inputValue()).toBe(text)
}

/**
 * An operator edits a dead letter and replays it, and replays all others in bulk jobs, one of which is cancelled in another browser.
 * The handler is repaired before.
 * @param isReported - the broker reports when a replay has been handled.
 */
export async function changesStory(
  browser: ReturnType<typeof useBrowser>,
  scene: Scene,
  options: { readonly isReported: boolean; readonly press: Press; readonly javaScriptEnabled?: boolean },
): Promise<void> {
  const { press, javaScriptEnabled = true, isReported } = options
  scene.state.isBroken = false
  await using page = await browser.open({ baseURL: scene.url, javaScriptEnabled, expected: /status of 409/ })
  const shows = (where: Page, text: string | RegExp) =>
    waitFor(
      async () => {
        if (await where.getByText(text).first().isVisible()) return true
        if (!javaScriptEnabled) await where.reload()
        return false
      },
      { timeoutMs: 15_000, describe: () => String(text) },
    )
  const session = { scene, page, press, shows }
  await editOne(session, isReported)
  await using other = await browser.open({ baseURL: scene.url, javaScriptEnabled })
  await replayAll(session, other)
}

/** A wrong value is refused in the words of the schema, a right one is handled, and Activity shows the operator. */
async function editOne({ scene, page, press, shows }: Session, isReported: boolean): Promise<void> {
  const before = scene.state.ran.length
  await page.goto('/orders/dead-letters')
  await press(page, 'OrderCreated')
  await press(page, 'Edit and replay…')
  await type(page, 'Payload', '{"customerId": 7}')
  await press(page, 'Check and show changes')
  expect(await page.getByRole('alert').textContent()).toMatch(/customerId: .*expected string/)
  await type(page, 'Payload', '{"customerId": "c-2"}')
  await press(page, 'Check and show changes')
  // The page of the wrong value shows its changes, too, until the next one replaces it.
  await page.locator('.diff', { hasText: 'c-2' }).waitFor()
  expect(await page.locator('.diff').textContent()).toBe('- customerId: "c-1"+ customerId: "c-2"')
  await press(page, 'Replay the edited event')
  await shows(page, isReported ? 'It was handled.' : 'It has not failed again.')
  await waitFor(() => scene.state.ran.length > before)
  expect(scene.state.ran.slice(before)).toEqual([expect.stringMatching(/^invoice Order-\d+$/)])
  await page.goto('/orders/activity')
  const row = page.getByRole('row', { name: /Edited customerId/ })
  await row.first().waitFor()
  expect(await row.first().textContent()).toContain('anna')
}

/** A slow job that another browser sees and cancels, and one to the end. */
async function replayAll({ scene, page, press, shows }: Session, other: Page): Promise<void> {
  const { deadLetters } = scene.page
  const handled = () => scene.state.ran.filter((line) => line.startsWith('invoice')).length
  const [all, before] = [await deadLetters.count(), handled()]
  await page.goto('/orders/dead-letters')
  await press(page, `Replay all ${all}…`)
  await type(page, /^Rate/, '1')
  await press(page, `Replay ${all}`)
  const running = new RegExp(`replayed [1-9]\\d? of ${all}`)
  await shows(page, running)
  await other.goto('/orders/dead-letters')
  await other.getByRole('link', { name: 'Replay of all dead letters' }).click()
  await shows(other, running)
  // The page of the job refreshes itself while the keys step through it.
  await press(other, 'Cancel the job')
  await shows(other, /The others are still dead letters/)
  const left = await deadLetters.count()
  expect(left).toBeGreaterThan(0)
  await waitFor(() => handled() === before + all - left)

  await page.goto('/orders/dead-letters')
  await press(page, `Replay all ${left}…`)
  await press(page, `Replay ${left}`)
  await shows(page, `replayed ${left} dead letters.`)
  expect(await deadLetters.count()).toBe(0)
  await waitFor(() => handled() === before + all)
}
