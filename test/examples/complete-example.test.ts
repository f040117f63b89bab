import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

// The demo imports the package by name, so it must be built; `npm test` and `npm run test:unit` do that first.
function runDemo(...args: string[]): string {
  return execFileSync(process.execPath, ['examples/complete-example.ts', ...args], {
    cwd: root,
    encoding: 'utf8',
  })
}

it("prints the output of eventsource-py's complete example, as shown in the README", () => {
  const output = runDemo()

  const shown = /```text\n(Statistics:[\s\S]*?)```/.exec(readme)?.[1]
  expect(output).toContain(shown)
  const uuid = /[0-9a-f-]{36}/g
  const time = /\d{4}-\d\d-\d\dT[\d:.]+Z/g
  const lines = output.replaceAll(uuid, 'ID').replaceAll(time, 'TIME').split('\n').slice(0, 6)
  expect(lines).toEqual([
    'Sending order confirmation for ID',
    'Analytics: Recording OrderCreated',
    'Audit: OrderCreated at TIME',
    'Sending shipping notification for ID',
    'Analytics: Recording OrderShipped',
    'Audit: OrderShipped at TIME',
  ])
})

it('keeps its events in the file that it is given, run after run', () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-demo-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'orders.db')
  const count = () => /^Events in .*: (\d+)$/m.exec(runDemo(`sqlite:${file}`))?.[1]

  expect([count(), count()]).toEqual(['1', '2'])
})

it('reports an unknown URL scheme in one sentence', () => {
  expect(() => runDemo('ftp://nowhere')).toThrow(/createEventBus: the URL must start with memory:, redis:/)
})
