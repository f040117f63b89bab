import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { freePort } from '../brokers/free-port.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('serves the metrics of a bus to Prometheus', async () => {
  const port = await freePort()
  const program = spawn(process.execPath, ['examples/prometheus.ts', String(port)], { cwd: root })
  try {
    await once(program.stdout, 'data')

    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()

    expect(text).toMatch(
      /^messaging_client_sent_messages(_total)?\{.*messaging_system="memory".*eventspine_event_type="OrderCreated".*\} [2-9]$/m,
    )
    expect(text).toMatch(/^eventspine_messages_handled(_total)?\{.*eventspine_outcome="success".*\} [2-9]$/m)
    expect(text).toMatch(
      /^eventspine_handler_duration(_seconds)?_count\{.*eventspine_handler_name="invoicing".*\} [2-9]$/m,
    )
    expect(text).toMatch(/^eventspine_messages_in_flight\{.*\} 0$/m)
  } finally {
    program.kill('SIGTERM')
    await once(program, 'exit')
  }
})
