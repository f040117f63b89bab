import { createRequire } from 'node:module'
import { expect, it } from 'vitest'
import { commands } from '../../src/cli/commands.ts'
import { run } from '../../src/cli/run.ts'
import { GenericEvent, JsonCodec } from '../../src/index.ts'
import { SqliteStores } from '../../src/sqlite/index.ts'
import { service } from './service.ts'
import { wordsOf } from './words.ts'

const EVENTS = `
import { defineEvent } from 'eventspine'
import { z } from 'zod'
export class OrderPlaced extends defineEvent({
  type: 'OrderPlaced', aggregateType: 'Order', schema: z.object({ total: z.number() }),
}) {}`

const placed = (total: number) =>
  new GenericEvent({ eventType: 'OrderPlaced', aggregateType: 'Order', aggregateId: 'o-1', data: { total } })
const line = (total: number) => String(new JsonCodec().encode(placed(total)).body)

function shop(environment: Readonly<Record<string, string>> = {}) {
  const folder = service(environment)
  folder.write('events.mjs', EVENTS)
  folder.write('events.jsonl', `${line(1)}\n\n${line(2)}\n`)
  return folder
}

/** Those with a broker run in test/redis/dlq-commands.test.ts and test/redis/operator-commands.test.ts. */
const examples = commands
  .map(({ name, examples: lines }) => [name, lines.filter((line) => !line.includes('redis:'))] as const)
  .filter(([, lines]) => lines.length > 0)

it.each(commands.map(({ name }) => name))('%s has an example', (name) => {
  expect(commands.find((command) => command.name === name)?.examples).not.toEqual([])
})

it.each(examples)('the examples in the help of %s run', async (name, lines) => {
  const { run } = shop()
  await run('migrate', 'sqlite:shop.db')
  for (const example of lines) {
    const { code, stderr } = await run(...wordsOf(example))
    expect([example, code, stderr]).toEqual([example, 0, expect.not.stringMatching(/error/i)])
  }
  const help = await run(...name.split(' '), '--help')
  expect([help.code, help.stderr]).toEqual([0, ''])
  for (const example of lines) expect(help.stdout).toContain(`eventspine ${example}`)
})

it('lists its commands', async () => {
  const { run } = service()
  const { code, stdout } = await run('--help')
  expect(code).toBe(0)
  for (const { name, about } of commands)
    expect(stdout).toMatch(new RegExp(`^  ${name} +${about.slice(0, 20)}`, 'm'))
  expect(await run('help', 'publish')).toEqual(await run('publish', '--help'))
})

it.each([
  [['publsh'], 'Unknown command "publsh": did you mean publish?'],
  [
    ['publish', 'A', 'memory:', '--agregate-id', 'o-1'],
    'Unknown option --agregate-id: did you mean --aggregate-id?',
  ],
  [['publish', 'A', 'memory:'], '--aggregate-id is needed.'],
  [['publish', 'A', 'memory:', '--aggregate-id'], '--aggregate-id needs a value: --aggregate-id <id>'],
  [['publish', 'A', 'memory:', '--data', '--dry-run'], '--data needs a value: --data <json>'],
  [['publish', 'A', 'memory:', '--dry-run=yes'], '--dry-run takes no value.'],
  [['publish', 'A', 'memory:', '--bus', 'a', '--bus', 'b'], '--bus is given 2 times: give it once.'],
  [
    ['publish', 'memory:', '--from', 'a', '--rate', 'fast'],
    '--rate must be a number per second such as 50/s, got "fast".',
  ],
  [['publish', 'A', 'B', 'memory:'], expect.stringMatching(/^"B" is unexpected: eventspine publish <type>/)],
  [['publish', 'A', 'memory:', 'redis://localhost'], 'More than one URL is given: give one.'],
  [
    ['publish', 'A', '--aggregate-id', 'o-1'],
    'No bus is given: add a URL such as redis://localhost:6379, or configure one in eventspine.config.ts.',
  ],
  [['publish', 'A', 'memory:', '--bus', 'x'], 'Give one of the URL, --url-file and a configured name.'],
  [['publish', 'A', '--bus', 'x'], 'There is no bus named "x": no bus is configured.'],
  [
    ['publish', 'A', 'memory:', '--aggregate-id', 'o-1'],
    'The class of A is not known: give --aggregate-type, or the module of the class with --events.',
  ],
  [
    ['publish', 'A', 'nats:', '--aggregate-id', 'o', '--aggregate-type', 'T'],
    expect.stringMatching(/createEventBus: the URL must start/),
  ],
  [
    ['migrate', 'mysql://x'],
    'The URL of a store starts with postgres:// or sqlite:, such as sqlite:events.db.',
  ],
  [['completion', 'tcsh'], 'The shell is bash, zsh or fish.'],
  [['completion'], 'An argument is missing: eventspine completion <bash|zsh|fish>'],
])('refuses %j with one sentence', async (args, sentence) => {
  const { folder } = shop()
  const written: string[] = []
  const output: string[] = []
  const code = await run(args, {
    out: async (line) => void output.push(line),
    err: (line) => void written.push(line),
    ...{ columns: undefined, hasColor: false, ask: undefined, environment: {}, workingDirectory: folder },
    interrupted: AbortSignal.any([]),
  })
  expect([code, output, written]).toEqual([2, [], [sentence]])
})

it('validates a payload with the class of the event', async () => {
  const { run } = shop()
  const event = ['publish', 'OrderPlaced', 'memory:', '--aggregate-id', 'o-1', '--events', 'events.mjs']
  const wrong = await run(...event, '--data', '{"total":"ten"}')
  expect([wrong.code, wrong.stderr]).toEqual([
    1,
    expect.stringMatching(/^OrderPlaced is not valid: total: .*number/),
  ])
  const right = await run(...event, '--data', '{"total":10}', '--json')
  expect([right.code, JSON.parse(right.stdout), right.stderr]).toEqual([
    0,
    { version: 1, eventId: expect.any(String), eventType: 'OrderPlaced', aggregateId: 'o-1' },
    'published 1 event\n',
  ])
})

it('publishes the events of a file up to a wrong line, and names the line', async () => {
  const { run, write } = shop()
  write('broken.jsonl', `${line(1)}\nnothing\n`)
  const { code, stdout, stderr } = await run('publish', 'memory:', '--from', 'broken.jsonl', '--json')
  expect([code, stdout.trim().split('\n').length]).toEqual([1, 1])
  expect(stderr).toMatch(/^Line 2 is not an event: /)
})

it('takes the bus from an argument, a file, the environment or the configuration, in this order', async () => {
  const event = ['publish', 'A', '--aggregate-type', 'Order', '--aggregate-id', 'o-1', '--dry-run']
  const { run, write } = shop({ EVENTSPINE_URL: 'nats://environment' })
  write(
    'eventspine.config.ts',
    `export default { buses: { orders: { url: 'memory:' }, other: { url: 'memory:' } } }`,
  )
  write('url.txt', 'memory:\n')
  const published = { code: 0, stdout: '', stderr: 'would publish 1 event\n' }
  expect(await run(...event, '--bus', 'orders')).toEqual(published)
  expect(await run(...event, '--url-file', 'url.txt')).toEqual(published)
  expect(await run(...event, 'memory:')).toEqual(published)
  const { run: plain, write: writePlain } = shop()
  writePlain(
    'eventspine.config.json',
    '{ "buses": { "a": { "url": "memory:" }, "b": { "url": "memory:" } } }',
  )
  expect((await plain(...event)).stderr).toBe('Several are configured: choose one with --bus: a, b.\n')
  writePlain('eventspine.config.json', '{ "busses": {} }')
  expect(await plain(...event)).toEqual({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(/the file has an unknown key "busses": did you mean buses\?/),
  })
})

it('warns about a password in the arguments, and never prints it', async () => {
  const { run } = shop()
  const url = 'redis://operator:canary-5f1c@127.0.0.1:1'
  const { code, stdout, stderr } = await run(
    'publish',
    'A',
    url,
    '--aggregate-type',
    'Order',
    '--aggregate-id',
    'o',
  )
  expect([code, stdout]).toEqual([3, ''])
  expect(stderr).toMatch(/^The URL contains a password, which other users of this machine can see\./)
  expect(stderr).toMatch(/127\.0\.0\.1:1/)
  expect(stderr).not.toContain('canary-5f1c')
})

it('creates, checks and prints the schema of a store', async () => {
  const { run } = shop()
  const missing = await run('migrate', 'sqlite:shop.db', '--check')
  expect([missing.code, missing.stderr]).toEqual([4, expect.stringMatching(/shop\.db does not exist/)])
  expect(await run('migrate', 'sqlite:shop.db')).toEqual({
    code: 0,
    stdout: '',
    stderr: 'the schema is that of this release\n',
  })
  const checked = await run('migrate', 'sqlite:shop.db', '--check', '--json')
  expect([checked.code, JSON.parse(checked.stdout)]).toEqual([0, { version: 1, isCurrent: true }])
  const { DatabaseSync } = createRequire(import.meta.url)('node:sqlite')
  const { run: runOld, folder } = shop()
  const file = new DatabaseSync(`${folder}/old.db`)
  file.exec(
    'create table eventspine_migrations (version integer, name text, checksum text, applied_at integer)',
  )
  file.close()
  const old = await runOld('migrate', 'sqlite:old.db', '--check', '--json')
  expect([old.code, JSON.parse(old.stdout)]).toEqual([
    5,
    { version: 1, isCurrent: false, found: 0, needed: expect.any(Number) },
  ])
  const sql = await runOld('migrate', 'postgres://nowhere', '--sql', '--schema', 'shop')
  expect([sql.code, sql.stdout]).toEqual([0, expect.stringMatching(/create table "shop"\.migrations/)])
})

it('lists the subscriptions of a store', async () => {
  const { run, folder } = shop()
  {
    await using stores = new SqliteStores({ file: `${folder}/shop.db` })
    await stores.events.appendEvents({
      ...{ aggregateId: 'o-1', aggregateType: 'Order', expectedVersion: 0 },
      events: [1, 2, 3].map(placed),
    })
    const checkpoint = { storeId: undefined, eventId: undefined, fence: undefined }
    await stores.checkpoints.save('totals', { ...checkpoint, position: 1 }, undefined)
    await stores.checkpoints.save('mails', { ...checkpoint, position: 3 }, undefined)
  }
  const table = await run('subscriptions', 'sqlite:shop.db')
  expect(table).toMatchObject({ code: 0, stderr: '' })
  expect(table.stdout).toMatch(
    /^SUBSCRIPTION +POSITION +BEHIND +SAVED +PARKED\nmails +3 +0 +\d+ s ago +0\ntotals +1 +2 /,
  )
  const late = await run('subscriptions', 'totals', 'sqlite:shop.db', '--max-lag', '1', '--json')
  expect([late.code, late.stderr]).toEqual([5, 'totals is 2 positions behind, the limit is 1\n'])
  expect(JSON.parse(late.stdout)).toEqual({
    ...{ version: 1, end: 3 },
    subscriptions: [{ name: 'totals', position: 1, lag: 2, savedAt: expect.any(String), parked: 0 }],
  })
  expect(await run('subscriptions', 'total', 'sqlite:shop.db')).toEqual({
    ...{ code: 4, stdout: '' },
    stderr: 'No subscription "total" has saved a position: did you mean totals?\n',
  })
  expect(await run('subscriptions', 'sqlite:shp.db')).toMatchObject({
    ...{ code: 4, stdout: '' },
    stderr: expect.stringMatching(/shp\.db does not exist\. eventspine migrate creates it\./),
  })
})

it('completes commands, options and names of the configuration', async () => {
  const { run, write } = shop()
  write('eventspine.config.json', '{ "buses": { "orders": { "url": "memory:" } } }')
  expect((await run('__complete', 'pu')).stdout).toBe('publish\n')
  expect((await run('__complete', 'publish', '--aggregate')).stdout).toBe(
    '--aggregate-id\n--aggregate-type\n',
  )
  expect((await run('__complete', 'publish', '--bus', '')).stdout).toBe('orders\n')
})

it('ends quietly when its reader has enough', async () => {
  const { run, folder } = shop()
  expect(await run('--help')).toMatchObject({ code: 0 })
  const { spawn } = await import('node:child_process')
  const child = spawn(
    'sh',
    ['-c', `node "$0" migrate --sql sqlite:x | head -n 1`, '../../dist/cli/main.js'],
    {
      cwd: folder,
    },
  )
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += String(chunk)
  })
  await new Promise((resolve) => {
    child.on('close', resolve)
  })
  expect(stderr).toBe('')
})

it('shows no value that an event class marks as sensitive, if its module is named', async () => {
  const { run, folder, write } = shop()
  write(
    'marked.mjs',
    EVENTS.replace("aggregateType: 'Order',", "aggregateType: 'Order', sensitive: ['total'],"),
  )
  {
    await using stores = new SqliteStores({ file: `${folder}/shop.db` })
    await stores.events.appendEvents({
      ...{ aggregateId: 'o-1', aggregateType: 'Order', expectedVersion: 0 },
      events: [placed(4711)],
    })
  }
  const list = await run('events', 'sqlite:shop.db', '--events', 'marked.mjs', '--json')
  expect([list.code, list.stderr]).toEqual([0, expect.stringContaining('1')])
  expect(list.stdout).not.toContain('4711')
  const { eventId, body } = JSON.parse(list.stdout)
  expect(JSON.parse(body)).toMatchObject({ event_type: 'OrderPlaced', total: '••••' })
  expect((await run('event', eventId, 'sqlite:shop.db', '--events', 'marked.mjs')).stdout).not.toContain(
    '4711',
  )
})
