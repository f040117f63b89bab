import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { waitFor } from 'eventspine/testing'
import { onTestFinished, type TestContext } from 'vitest'
import { freePort } from '../brokers/free-port.ts'
import { paced } from '../support/pace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Listed {
  readonly id: string
  readonly status: string
}

/**
 * Starts the service, as its first line says.
 *
 * @param atEnd - the hook of the test; a concurrent test passes its own.
 * @returns how to call it, and what it has printed.
 */
export async function startOrderService(
  settings: Readonly<Record<string, string>>,
  atEnd: TestContext['onTestFinished'] = onTestFinished,
) {
  const port = await freePort()
  const env = { ...process.env, ...settings, PORT: String(port) }
  const service = spawn(process.execPath, ['examples/order-service/main.ts'], { cwd: root, env })
  atEnd(() => void service.kill('SIGKILL'))
  const lines: string[] = []
  service.stdout.on('data', (data: Buffer) => lines.push(...data.toString().trim().split('\n')))
  const errors: string[] = []
  service.stderr.on('data', (data: Buffer) => errors.push(data.toString()))
  const isListening = () => lines.some((line) => line.startsWith('listening'))
  await waitFor(isListening, { timeoutMs: paced(20_000), describe: () => errors.join('') })
  const call = (path: string, body?: object) =>
    fetch(`http://127.0.0.1:${port}${path}`, body && { method: 'POST', body: JSON.stringify(body) })
  return {
    process: service,
    lines,
    call,
    list: async () => (await (await call('/orders')).json()) as readonly Listed[],
  }
}

export async function stopOrderService(service: ChildProcess): Promise<void> {
  service.kill('SIGTERM')
  if (service.exitCode === null) await once(service, 'exit')
}
