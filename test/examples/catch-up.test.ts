import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('catches up, rebuilds, relays and exits', () => {
  const output = execFileSync(process.execPath, ['examples/catch-up.ts'], { cwd: root, encoding: 'utf8' })

  expect(output.split('\n')).toEqual([
    'Totals: { Ada: 66670, Bo: 66670, Cy: 66660 }',
    'Rebuilt from 20000 events: { Ada: 66670, Bo: 66670, Cy: 66660 }',
    'Published by the relay: 20000, health: up',
    '',
  ])
})
