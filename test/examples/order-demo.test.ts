import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

// The demo imports the package by its own name: `npm test` and `npm run test:unit` build it first.
function runDemo(...args: string[]): string {
  return execFileSync(process.execPath, ['examples/order-demo.ts', ...args], { cwd: root, encoding: 'utf8' })
}

it('prints what the README shows', () => {
  const output = runDemo()

  const shown = /```text\n(Statistics:[\s\S]*?)```/.exec(readme)?.[1]
  expect(output).toContain(shown)
  expect(output).toContain('Notification: order ORD-123 is confirmed')
  expect(output).toMatch(/Audit: customer\.renamed of Customer/)
})

it('answers an unknown scheme in one clear sentence', () => {
  expect(() => runDemo('ftp://nowhere')).toThrow(/createEventBus: the URL must begin with memory:, redis:/)
})
