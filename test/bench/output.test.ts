import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

test('a benchmark prints only one JSON array of rows on stdout', async () => {
  const { stdout, stderr } = await run(process.execPath, ['bench/memory.ts', '--json', '--quick'], {
    cwd: root,
  })

  const rows = JSON.parse(stdout)
  expect(rows.length).toBeGreaterThan(10)
  for (const { peer, ...row } of rows) {
    expect(row).toEqual({
      bus: 'memory',
      work: expect.any(String),
      ours: expect.any(Number),
      raw: expect.any(Number),
      ratio: expect.any(Number),
      unit: expect.stringMatching(/^(events\/s|ms|ns|MiB)$/),
      spread: [expect.any(Number), expect.any(Number)],
    })
    expect(['undefined', 'string']).toContain(typeof peer)
  }
  expect(stderr).toContain('memory 1/')
})
