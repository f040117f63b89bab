import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, it } from 'vitest'
import { wordsOf } from '../cli/words.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { waitFor } from '../support/wait-for.ts'
import { createBus, freshPrefix } from './scene.ts'
import { examplesOf, shell } from './shell.ts'

/** A consumer with a handler that fails until it is fixed, and 5 dead letters of two errors. */
async function sceneWithLetters() {
  const streamPrefix = freshPrefix()
  const state = { isFixed: false, handled: [] as OrderCreated[] }
  const bus = createBus({ streamPrefix, maxRetries: 0, consumerGroup: 'billing' })
  let count = 0
  bus.subscribe(
    OrderCreated,
    (event) => {
      if (state.isFixed) return void state.handled.push(event)
      count += 1
      throw count % 2 === 0 ? new TypeError('cannot read it') : new RangeError(`no product ${count}`)
    },
    { name: 'charge' },
  )
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  for (let n = 0; n < 5; n += 1) await bus.publish([orderCreated(`Order-${n}`)])
  await waitFor(async () => (await bus.deadLetters.count()) === 5)
  return { bus, state, streamPrefix, ...shell(inject('redisUrl'), streamPrefix) }
}

it('lists, summarizes and shows dead letters', async () => {
  const { run } = await sceneWithLetters()

  const list = await run('dlq', 'list', '--filter', 'error:RangeError text:"no product" since:1h', '--json')
  const { deadLetters } = JSON.parse(list.stdout)
  expect(deadLetters.map(({ errorMessage }: { errorMessage: string }) => errorMessage)).toEqual([
    'no product 5',
    'no product 3',
    'no product 1',
  ])
  const summary = await run('dlq', 'summary')
  expect(summary.stdout).toMatch(
    / 3 +\d+ s ago +\d+ s ago +RangeError: no product <n>\n +2 .*TypeError: cannot read it/,
  )
  expect(summary.stderr).toBe('5 dead letters match, of all 5 that were read')
  const { id } = deadLetters[0]
  const shown = await run('dlq', 'show', id)
  expect(shown.stdout).toMatch(/errorMessage +no product 5/)
  expect((await run('dlq', 'show', '1-1')).code).toBe(4)
  expect((await run('dlq', 'list')).stdout).toContain('billing')
})

it.each([
  [['dlq', 'replay'], /Name the dead letters to replay/],
  [['dlq', 'replay', '--all'], /This would replay 5 dead letters. Nothing was done: add --yes./],
  [['dlq', 'purge', '--filter', 'grup:billing', '--yes'], /unknown key "grup": did you mean group\?/],
  [['dlq', 'purge', '--filter', 'reason:bad', '--yes'], /must be max_retries_exceeded or/],
  [['dlq', 'lst'], /did you mean list\?/],
])('%s ends with 2 and changes nothing', async (args, message) => {
  const { run, bus } = await sceneWithLetters()
  const { code, stderr } = await run(...args)
  expect([code, stderr]).toEqual([2, expect.stringMatching(message)])
  expect(await bus.deadLetters.count()).toBe(5)
})

it('replays what its dry run counts, to the handler that failed', async () => {
  const { run, bus, state } = await sceneWithLetters()
  state.isFixed = true
  const filter = ['--filter', 'group:billing error:RangeError']

  expect((await run('dlq', 'replay', ...filter, '--dry-run')).stderr).toBe('would replay 3 dead letters')
  const { code, stdout } = await run('dlq', 'replay', ...filter, '--yes', '--json', '--by', 'anna')

  expect([code, JSON.parse(stdout)]).toEqual([0, { version: 1, count: 3, isDryRun: false }])
  await waitFor(() => state.handled.length === 3)
  expect(await bus.deadLetters.count()).toBe(2)
})

it('ends an interrupted replay with 130 and a report', async () => {
  const { run, bus, interrupt } = await sceneWithLetters()
  const replay = run('dlq', 'replay', '--all', '--yes', '--rate', '2/s')
  await waitFor(async () => (await bus.getStats()).handlerErrors > 5)
  interrupt.abort()

  const { code, stderr } = await replay

  expect(code).toBe(130)
  expect(stderr).toMatch(/^replayed [1-4] dead letters?$/)
})

it('replays an edited event, and refuses what the schema does', async () => {
  const { bus, state, streamPrefix, run, folder } = await sceneWithLetters()
  state.isFixed = true
  const events = join(folder, 'events.mjs')
  const support = new URL('../support/order-events.ts', import.meta.url)
  writeFileSync(events, `export { OrderCreated } from ${JSON.stringify(support.href)}\n`)
  const [letter] = (await bus.deadLetters.list()).deadLetters
  const edit = (patch: string) => ['dlq', 'edit', letter?.id ?? '', '--events', events, '--patch', patch]
  const payload = JSON.parse(Buffer.from(letter?.body ?? []).toString())

  const refused = await run(...edit('{"customerId":7}'), '--yes')
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/customerId/)])
  expect(await bus.deadLetters.count()).toBe(5)
  const asking = shell(inject('redisUrl'), streamPrefix, 'y')
  const { code, stderr } = await asking.run(...edit('{"customerId":"c-other"}'), '--reason', 'OPS-12')

  expect([code, stderr]).toEqual([0, expect.stringMatching(/\+ customerId: "c-other"\nreplayed as event /)])
  await waitFor(() => state.handled.length === 1)
  expect(state.handled[0]).toMatchObject({ customerId: 'c-other', causationId: payload.event_id })
  expect(await bus.deadLetters.count()).toBe(4)
})

it('archives to a file that import stores on another broker, and purges with a copy', async () => {
  const { bus, run, folder } = await sceneWithLetters()
  const before = await run('dlq', 'export')
  const elsewhere = shell(inject('rabbitmqUrl'), freshPrefix())

  expect((await run('dlq', 'archive', 'old.jsonl', '--filter', 'error:RangeError', '--yes')).code).toBe(0)
  expect((await run('dlq', 'purge', '--all', '--yes', '--backup', 'rest.jsonl')).stderr).toMatch(
    /removed 2 dead letters\ncopies: .*rest.jsonl/,
  )
  expect(await bus.deadLetters.count()).toBe(0)
  const lines = ['old.jsonl', 'rest.jsonl'].flatMap((file) =>
    readFileSync(join(folder, file), 'utf8').trim().split('\n'),
  )
  expect(lines.toSorted()).toEqual(before.stdout.split('\n').toSorted())

  const back = await run('dlq', 'import', 'old.jsonl')
  expect([back.code, back.stderr]).toEqual([0, 'imported 3 dead letters'])
  expect(await bus.deadLetters.count()).toBe(3)
  expect((await run('dlq', 'import', 'missing.jsonl')).code).toBe(1)
  writeFileSync(join(elsewhere.folder, 'letters.jsonl'), before.stdout)
  expect((await elsewhere.run('dlq', 'import', 'letters.jsonl')).code).toBe(0)
  const there = await elsewhere.run('dlq', 'export')
  const original = (text: string) =>
    text
      .split('\n')
      .map((line) => JSON.parse(line))
      .map(({ headers, body, fields }) => ({ headers, body, fields }))
      .toSorted((x, y) => (x.body < y.body ? -1 : 1))
  expect(original(there.stdout)).toEqual(original(before.stdout))
})

it('has examples that run', async () => {
  const { run, folder, bus } = await sceneWithLetters()
  const [letter, replayed] = (await bus.deadLetters.list()).deadLetters
  const support = new URL('../support/order-events.ts', import.meta.url)
  writeFileSync(join(folder, 'events.mjs'), `export { OrderCreated } from ${JSON.stringify(support.href)}\n`)
  writeFileSync(join(folder, 'letters.jsonl'), (await run('dlq', 'export')).stdout)
  const examples = examplesOf('dlq').map((line) => {
    const { id = '' } = (line.startsWith('dlq replay') ? replayed : letter) ?? {}
    return line.replace('1700000000000-0', id).replace('events.mjs', join(folder, 'events.mjs'))
  })
  expect(examples).toHaveLength(11)
  for (const example of examples) {
    const { code, stderr } = await run(...wordsOf(example))
    expect([example, code, stderr]).toEqual([example, 0, expect.anything()])
  }
})

it('leads an operator from an order to the handler that failed, and to its replay', async () => {
  const { run, bus, state } = await sceneWithLetters()
  const [first] = (await bus.deadLetters.list()).deadLetters
  const { aggregateId = '' } = first ?? {}

  const help = await run('dlq', 'list', '--help')
  expect(help.stdout).toContain("--filter 'aggregate:Order-7'")
  const listed = await run('dlq', 'list', '--filter', `aggregate:${aggregateId}`)
  const [, id = ''] = / (\d+-\d+) /.exec(listed.stdout) ?? []
  const shown = await run('dlq', 'show', id)
  expect(shown.stdout).toMatch(/^errorMessage +\S/m)
  expect(shown.stdout).toMatch(/^lastFailedAt +\d{4}-\d\d-\d\dT/m)
  const [, command = ''] = /once its cause is fixed: eventspine (.*)$/.exec(shown.stderr) ?? []
  state.isFixed = true
  const words = wordsOf(command).slice(0, 3)
  expect(words).toEqual(['dlq', 'replay', id])
  const [, eventId = ''] = /^eventId +(\S+)$/m.exec(shown.stdout) ?? []
  const what = `OrderCreated of ${aggregateId} to charge of billing`
  const planned = await run(...words, '--dry-run')
  expect(planned).toMatchObject({ code: 0, stderr: `would replay 1 dead letter\n${what}` })
  const { code, stderr } = await run(...words, '--yes')
  const [, next = ''] = /\nwhat has become of it: eventspine (.*)$/.exec(stderr) ?? []
  expect([code, stderr]).toEqual([0, expect.stringContaining(`replayed 1 dead letter\n${what}\n`)])
  expect(wordsOf(next).slice(0, 4)).toEqual(['explain', eventId, '--aggregate', aggregateId])

  await waitFor(() => state.handled.length === 1)
  expect((await run(...wordsOf(next).slice(0, 4))).stdout).toMatch(/^billing +done /m)
  expect((await run('dlq', 'list', '--filter', 'aggregate:no-such')).stderr).toBe(
    'none of 4 dead letters matches',
  )
  expect((await run('dlq', 'list', '--limit', '1')).stderr).toMatch(/^1 of 4 shown\nthe next page: /)
  expect(await run('dlq', 'list', '--filter', `aggregate:${aggregateId}`, '--limit', '1')).toMatchObject({
    stdout: expect.not.stringContaining(id),
  })
})

it('says where it has looked if no dead letter matches, and refuses a wrong cursor', async () => {
  const { run } = shell(inject('redisUrl'), 'no-such-prefix')

  for (const words of [[], ['--filter', 'group:billing']]) {
    const { stderr } = await run('dlq', 'list', ...words)
    expect(stderr).toBe('no dead letter waits under the prefix no-such-prefix')
  }
  expect(await run('dlq', 'list', '--cursor', 'nonsense')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/cursor must be that of the previous page/),
  })
  expect(await run('events', '--from', 'nonsense')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/from must be 'first', 'last', a Date, or the position of an event/),
  })
})
