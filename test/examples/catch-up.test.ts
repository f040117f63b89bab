import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('catches up, rebuilds, relays and exits', () => {
  const output = execFileSync(process.execPath, ['examples/catch-up.ts'], { cwd: root, encoding: 'utf8' })

  expect(output.split('\n')).toEqual([
    'Totals: { Ada: 333340, Bo: 333330, Cy: 333330 }',
    'Rebuilt from 100000 events: { Ada: 333340, Bo: 333330, Cy: 333330 }',
    'Published by the relay: 100000, health: up',
    '',
  ])
})
