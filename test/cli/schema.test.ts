import { expect, it } from 'vitest'
import { service } from './service.ts'

const events = (payload: string, more = '') => `
import { defineEvent, EventRegistry, firstVersion } from 'eventspine'
import { z } from 'zod'
export class Placed extends defineEvent({ type: 'Placed', aggregateType: 'Order', schema: z.object(${payload})${more} }) {}
const registry = new EventRegistry()
registry.register(defineEvent({ type: 'Shipped', aggregateType: 'Order', schema: z.object({ to: z.string() }) }))
export default registry
export const unrelated = 1
`

it('writes the contract, and checks the next releases against it', async () => {
  const { write, read, run } = service()
  write('events.mjs', events('{ total: z.number() }'))
  expect(await run('schema', '--events', 'events.mjs')).toMatchObject({
    code: 0,
    stdout: '',
    stderr: 'wrote events.contract.json with 2 events: Placed, Shipped\n',
  })
  expect(await run('schema', '--events', 'events.mjs', '--check')).toEqual({
    code: 0,
    stdout: '',
    stderr: '',
  })

  write('renamed.mjs', events('{ cents: z.int() }'))
  const broken = await run('schema', '--events', 'renamed.mjs', '--check')
  expect(broken.code).toBe(5)
  expect(broken.stdout).toMatch(/^Placed\.cents: field-missing: .*Remedy: raise the version to 2/m)
  expect(broken.stderr).toMatch(/^\d changes break stored events or consumers$/m)

  const chain =
    ', upcasts: firstVersion(z.object({ total: z.number() })).to(2, ({ total }) => ({ cents: total * 100 }))'
  write('upcast.mjs', events('{ cents: z.int() }', chain))
  const outcome = await run('schema', '--events', 'upcast.mjs', '--check', '--json')
  expect([outcome.code, JSON.parse(outcome.stdout)]).toEqual([0, { faults: [], isCurrent: false }])
  await run('schema', '--events', 'upcast.mjs')
  expect(read('events.contract.json').events.Placed).toMatchObject({ version: 2, earlier: { 1: {} } })
})

it('checks the contracts of consumers', async () => {
  const { write, run } = service()
  write('events.mjs', events('{ total: z.number() }'))
  write('reader.mjs', events('{ total: z.number(), currency: z.string() }'))
  await run('schema', '--events', 'reader.mjs', '--file', 'billing.json')
  await run('schema', '--events', 'events.mjs')
  const outcome = await run('schema', '--events', 'events.mjs', '--check', '--consumer', 'billing.json')

  expect([outcome.code, outcome.stdout]).toEqual([
    5,
    expect.stringMatching(/^Placed\.currency: field-missing: billing.json reads version 1/),
  ])
})

it('writes an AsyncAPI document with the channels of the buses', async () => {
  const { write, read, run } = service()
  write('events.mjs', events('{ total: z.number() }'))
  const channels = ['redis=events', 'kafka=shop', 'rabbitmq=orders'].flatMap((channel) => [
    '--channel',
    channel,
  ])
  const { code } = await run('schema', '--events', 'events.mjs', '--asyncapi', 'api.json', ...channels)

  expect(code).toBe(0)
  const { asyncapi, channels: written, components } = read('api.json')
  expect(asyncapi).toBe('3.0.0')
  expect(Object.values<{ address: string }>(written).map(({ address }) => address)).toEqual([
    ...['events:stream', 'events:stream_dlq', 'shop.stream', 'shop.stream.dlq', 'orders', 'orders_dlq'],
  ])
  expect(components.messages.Placed.payload.allOf[1].properties.event_type).toEqual({ const: 'Placed' })
})

it.each([
  [[], /^eventspine <command>/],
  [['schema'], /--events is needed/],
  [['schema', '--events', 'none.mjs'], /none.mjs cannot be loaded/],
  [['schema', '--events', 'empty.mjs'], /empty.mjs exports no event class/],
  [['schema', '--events', 'events.mjs', '--check'], /The contract file events.contract.json cannot be read/],
  [['schema', '--events', 'events.mjs', '--check', '--file', 'empty.mjs'], /empty.mjs: /],
  [['schema', '--events', 'events.mjs', '--channel', 'nats=x'], /--channel must be redis=…/],
  [['schema', '--events', 'events.mjs', '--asyncapi', 'x.json'], /--asyncapi needs a --channel/],
  [['schema', '--events', 'events.mjs', '--consumer', 'x.json'], /--consumer needs --check/],
  [['schema', '--wrong'], /Unknown option --wrong: see eventspine schema --help/],
])('refuses %j', async (args, message) => {
  const { write, run } = service()
  write('events.mjs', events('{ total: z.number() }'))
  write('empty.mjs', 'export {}')
  const { code, stdout, stderr } = await run(...args)

  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toMatch(message)
})

it('prints its usage', async () => {
  const { code, stdout } = await service().run('schema', '--help')

  expect(code).toBe(0)
  for (const option of ['--events', '--file', '--check', '--consumer', '--asyncapi', '--channel', '--json']) {
    expect(stdout).toContain(option)
  }
})
