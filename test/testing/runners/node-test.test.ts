import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

it('the kit works with node:test, and leaves nothing open', async () => {
  // The runner ends by itself only if no test leaves a handle open. Vitest and Jest: npm run test:runners.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const file = join(import.meta.dirname, 'kit.test.mjs')
  const { stdout } = await promisify(execFile)(process.execPath, ['--test', '--test-reporter=tap', file], {
    env,
  })

  expect(stdout).toContain('# pass 4\n# fail 0')
})
