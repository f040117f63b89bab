import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { run } from '../../src/cli/run.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { SqliteStores } from '../../src/sqlite/index.ts'
import { freePort } from '../brokers/free-port.ts'
import { checkpointAt, noted } from '../subscriptions/subscription-scene.ts'
import { waitFor } from '../support/wait-for.ts'

function terminalIn(folder: string) {
  const interrupt = new AbortController()
  const terminal: Terminal = {
    out: () => Promise.resolve(),
    err: () => undefined,
    columns: undefined,
    hasColor: false,
    ask: undefined,
    environment: {},
    workingDirectory: folder,
    interrupted: interrupt.signal,
  }
  return { terminal, interrupt }
}

it('serves the metrics of the subscriptions of a store to Prometheus', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-exporter-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const { terminal, interrupt } = terminalIn(folder)
  await using stores = new SqliteStores({ file: join(folder, 'shop.db') })
  const request = { aggregateId: 'a', aggregateType: 'Note', events: [1, 2].map((n) => noted(n, 'a')) }
  await stores.events.appendEvents({ ...request, expectedVersion: 0 })
  await stores.checkpoints.save('totals', checkpointAt(1), undefined)
  await stores.checkpoints.save('mails', checkpointAt(2), undefined)
  const port = await freePort()

  const serving = run(['exporter', 'sqlite:shop.db', '--port', String(port)], terminal)
  let text = ''
  await waitFor(async () => {
    text = await fetch(`http://127.0.0.1:${port}/metrics`).then(
      (answer) => answer.text(),
      () => '',
    )
    return text !== ''
  })

  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const of = (name: string) => `{eventspine_subscription_name="${name}"}`
  expect(samples.filter((line) => !line.startsWith('eventspine_subscription_oldest_unfinished'))).toEqual([
    `eventspine_subscription_position${of('mails')} 2`,
    `eventspine_subscription_position${of('totals')} 1`,
    `eventspine_subscription_lag${of('mails')} 0`,
    `eventspine_subscription_lag${of('totals')} 1`,
    `eventspine_subscription_parked${of('mails')} 0`,
    `eventspine_subscription_parked${of('totals')} 0`,
    'eventspine_exporter_connected 1',
  ])
  expect(samples).toContain(`eventspine_subscription_oldest_unfinished${of('mails')} 0`)
  expect(samples).toHaveLength(9)
  interrupt.abort()
  expect(await serving).toBe(0)
})
