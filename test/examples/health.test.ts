import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { freePort } from '../brokers/free-port.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

it.each([
  ['memory:', 200, 'up'],
  // No broker listens there: the program is alive, because a restart would not help, but not ready.
  ['redis://127.0.0.1:1', 503, 'down'],
])('answers the probes for a bus on %s', async (url, ready, status) => {
  const port = await freePort()
  const program = spawn(process.execPath, ['examples/health.ts', url, String(port)], { cwd: root })
  try {
    await once(program.stdout, 'data')

    const readiness = await fetch(`http://127.0.0.1:${port}/ready`)
    const liveness = await fetch(`http://127.0.0.1:${port}/live`)

    expect([readiness.status, liveness.status]).toEqual([ready, 200])
    expect(await readiness.json()).toMatchObject({ status })
  } finally {
    program.kill('SIGTERM')
    await once(program, 'exit')
  }
})
