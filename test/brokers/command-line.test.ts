import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, inject, it } from 'vitest'
import { service } from '../cli/service.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { waitFor } from '../support/wait-for.ts'
import type { BrokerKind } from './broker.ts'
import { createBus, systems } from './every-bus.ts'

const PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const ESCAPE = '\u001B['

function urlOf(system: BrokerKind): string {
  return {
    redis: inject('redisUrl'),
    rabbitmq: inject('rabbitmqUrl'),
    kafka: `kafka://${inject('kafkaBootstrapServers')}`,
  }[system]
}

/** A bus with the groups `billing`, which fails for two of three events, and `reports`, and its command line. */
async function shop(system: BrokerKind) {
  const prefix = `cli-${randomUUID().slice(0, 8)}`
  const handled: string[] = []
  const billing = createBus(system, prefix, { consumerGroup: 'billing', maxRetries: 0 })
  const reports = createBus(system, prefix, { consumerGroup: 'reports' })
  billing.subscribe(
    OrderCreated,
    ({ aggregateId }) => {
      if (aggregateId !== 'o-0') throw new TypeError(`no price for ${aggregateId}`)
    },
    { name: 'charge' },
  )
  reports.subscribe(OrderCreated, ({ eventId }) => void handled.push(eventId), { name: 'count' })
  for (const bus of [billing, reports]) {
    bus.startConsumingInBackground()
    await bus.whenConsuming()
  }
  await billing.publish(['o-0', 'o-1', 'o-2'].map((id) => orderCreated(id)))
  await waitFor(async () => handled.length === 3 && (await billing.deadLetters.count()) === 2)
  const { run, folder } = service()
  const target = [urlOf(system), '--prefix', prefix]
  return {
    bus: billing,
    folder,
    target,
    run: (...words: readonly string[]) => run(...words, ...target),
  }
}

const linesOf = (output: string) => output.split('\n').filter((line) => line !== '')

describe.each(systems)('%s', (system) => {
  it('prints data and nothing else to stdout: one JSON text, or one for each line', async () => {
    const { run } = await shop(system)
    const { code, stdout } = await run('groups', '--json')
    expect([code, JSON.parse(stdout).groups.map(({ name }: { name: string }) => name)]).toEqual([
      0,
      ['billing', 'reports'],
    ])
    for (const words of [
      ['dlq', 'list', '--jsonl'],
      ['dlq', 'export'],
      ['consumers', '--json'],
    ]) {
      const { code, stdout } = await run(...words)
      expect([words, code, linesOf(stdout).length > 0]).toEqual([words, 0, true])
      for (const line of linesOf(stdout)) expect(JSON.parse(line)).toBeTypeOf('object')
      expect(stdout).not.toContain(ESCAPE)
    }
  })

  it.each(systems.filter((other) => other !== system))(
    'exports dead letters that %s imports without the loss of a byte',
    async (other) => {
      const { run } = await shop(system)
      const there = service()
      const target = [urlOf(other), '--prefix', `cli-${randomUUID().slice(0, 8)}`]
      const exported = (await run('dlq', 'export')).stdout
      writeFileSync(join(there.folder, 'letters.jsonl'), exported)
      expect(await there.run('dlq', 'import', 'letters.jsonl', ...target)).toMatchObject({ code: 0 })
      const back = (await there.run('dlq', 'export', ...target)).stdout
      const contents = (output: string) =>
        linesOf(output)
          .map((line) => JSON.parse(line))
          .map(({ headers, body }) => ({ headers, body }))
          .toSorted((a, b) => (a.body < b.body ? -1 : 1))
      expect(contents(exported)).toHaveLength(2)
      expect(contents(back)).toEqual(contents(exported))
    },
  )

  it('completes the names of groups', async () => {
    const { run } = service()
    const { target } = await shop(system)
    const complete = async (...words: readonly string[]) =>
      linesOf((await run('__complete', ...words)).stdout)
    const [url = '', ...prefix] = target
    expect(await complete('pause', url, ...prefix, 'b')).toEqual(['billing'])
    expect(await complete('groups', 'delete', url, ...prefix, 'r')).toEqual(['reports'])
    expect(await complete('doctor', url, ...prefix, '--group', '')).toEqual(['billing', 'reports'])
    expect(await complete('pause', 'billing', url, ...prefix, 'r')).toEqual([])
  })

  it('follows the events in their order, and ends quietly when its reader has enough', async () => {
    const { bus, folder, target } = await shop(system)
    const tail = spawn(
      'sh',
      ['-c', `"${process.execPath}" "$@" | head -n 5`, 'sh', PROGRAM, 'tail', '--jsonl', ...target],
      {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    const stdout = text(tail.stdout)
    let stderr = ''
    tail.stderr.setEncoding('utf8').on('data', (chunk) => {
      stderr += chunk
    })
    await waitFor(() => stderr.includes('waiting'))
    const events = Array.from({ length: 6 }, (_, n) => orderCreated(`o-${n % 2}`))
    await bus.publish(events)
    await waitFor(async () => {
      // A program notices that its reader has gone when it writes the next line.
      await bus.publish([orderCreated('later')])
      return tail.exitCode !== null
    })
    expect([tail.exitCode, stderr]).toEqual([0, expect.not.stringContaining('Error')])
    const ids = linesOf(await stdout).map((line) => JSON.parse(line).eventId)
    expect(ids).toHaveLength(5)
    for (const order of ['o-0', 'o-1']) {
      const published = events
        .filter(({ aggregateId }) => aggregateId === order)
        .map(({ eventId }) => eventId)
      const shown = ids.filter((id) => published.includes(id))
      expect(shown).toEqual(published.slice(0, shown.length))
    }
  })
})
