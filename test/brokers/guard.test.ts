import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { waitFor } from '../support/wait-for.ts'
import { isAnswering } from './probe.ts'

test('a broker ends with the process that launched it, even if that process is killed', async () => {
  const launcher = new URL('./launch-broker.ts', import.meta.url)
  const program = `
    const { launchBroker } = await import(${JSON.stringify(launcher.href)})
    const { port } = await launchBroker('redis')
    process.stdout.write(String(port), () => process.kill(process.pid, 'SIGKILL'))`
  const owner = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })

  const port = Number(await text(owner.stdout))

  expect(port).toBeGreaterThan(0)
  const endpoint = { host: '127.0.0.1', port }
  await waitFor(async () => !(await isAnswering('redis', endpoint, 500)), { timeoutMs: 10_000 })
})
