import { expect, inject, it } from 'vitest'
import { freePort } from '../brokers/free-port.ts'
import { wordsOf } from '../cli/words.ts'
import {
  OrderCancelled,
  OrderCreated,
  OrderShipped,
  orderCreated,
  orderShipped,
} from '../support/order-events.ts'
import { waitFor } from '../support/wait-for.ts'
import { createBus, freshPrefix } from './scene.ts'
import { examplesOf, shell } from './shell.ts'

/** Two groups: `billing` has handled everything, `reports` has stopped and has a backlog of two. */
async function scene() {
  const streamPrefix = freshPrefix()
  const handled: string[] = []
  const reports = createBus({ streamPrefix, consumerGroup: 'reports' })
  reports.subscribe(OrderCreated, () => undefined, { name: 'count' })
  reports.startConsumingInBackground()
  await reports.whenConsuming()
  await reports.shutdown()
  const bus = createBus({ streamPrefix, consumerGroup: 'billing', presenceIntervalMs: 500 })
  bus.subscribe(OrderCreated, (event) => void handled.push(event.eventId), { name: 'charge' })
  bus.startConsumingInBackground()
  await bus.whenConsuming()
  const events = [orderCreated('o-1'), orderShipped('o-1')]
  await bus.publish(events)
  await waitFor(() => handled.length === 1)
  return { bus, events, ...shell(inject('redisUrl'), streamPrefix, 'y') }
}

it('lists the groups, checks their lag, and deletes one that has no members', async () => {
  const { run } = await scene()
  const table = await run('groups')
  expect(table).toMatchObject({ code: 0, stderr: '' })
  expect(table.stdout).toMatch(/^GROUP +LAG +IN FLIGHT +OLDEST +WAITING +DEAD LETTERS +MEMBERS +PAUSED$/m)
  expect(table.stdout).toMatch(/^reports +2 +0 +\d+ s +0 +0 +0 +\S+$/m)

  const checked = await run('groups', 'reports', '--max-lag', '1', '--json')
  expect([checked.code, checked.stderr]).toEqual([5, 'the lag of reports is 2, the limit is 1'])
  expect(JSON.parse(checked.stdout)).toMatchObject({ version: 1, groups: [{ name: 'reports', lag: 2 }] })

  expect(await run('groups', 'report')).toMatchObject({
    code: 4,
    stderr: expect.stringMatching(/report.*did you mean reports\?/),
  })
  expect(await run('groups', 'delete', 'billing', '--yes')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/billing/),
  })
  expect(await run('groups', 'delete', 'reports')).toEqual({
    ...{ code: 0, stdout: '' },
    stderr: 'deleted the group reports',
  })
  expect(JSON.parse((await run('groups', '--json')).stdout).groups).toHaveLength(1)
})

it('says where it looked if nothing is there', async () => {
  const prefix = freshPrefix()
  const { run } = shell(inject('redisUrl'), prefix)

  expect((await run('groups')).stderr).toBe(`no group has consumed under the prefix ${prefix}`)
  for (const command of ['consumers', 'topology']) {
    expect((await run(command)).stderr).toMatch(new RegExp(`^no \\w+ has .* under the prefix ${prefix}$`))
  }
})

it('lists the living consumers, and draws who publishes and handles what', async () => {
  const { run, bus } = await scene()
  await waitFor(async () => (await bus.admin.topology()).producers.length === 1)
  const table = await run('consumers')
  expect(table).toMatchObject({ code: 0, stderr: '' })
  expect(table.stdout).toMatch(/^GROUP +CONSUMER +HOST +PID +PROGRAM +EVENTSPINE +RUNS FOR/m)
  expect(table.stdout).toMatch(new RegExp(`^billing .* ${process.pid} .* charge \\(OrderCreated\\)$`, 'm'))
  const { consumers } = JSON.parse((await run('consumers', 'billing', '--json')).stdout)
  expect(consumers).toMatchObject([{ group: 'billing', pid: process.pid, paused: false }])
  expect(await run('consumers', 'biling')).toMatchObject({ code: 4 })

  const { stdout } = await run('topology')
  expect(stdout).toMatch(/^billing +publishes +OrderCreated, OrderShipped$/m)
  expect(stdout).toMatch(/^billing: charge +handles +OrderCreated$/m)
  const { topology } = JSON.parse((await run('topology', '--format', 'json')).stdout)
  expect(topology.events).toEqual(['OrderCreated', 'OrderShipped'])
  const mermaid = (await run('topology', '--format', 'mermaid')).stdout.split('\n')
  expect(mermaid).toEqual(expect.arrayContaining(['flowchart LR', '  p0 --> e0', '  e0 --> h0']))
  const dot = (await run('topology', '--format', 'dot')).stdout.split('\n')
  expect(dot).toEqual(expect.arrayContaining(['    h0 [label="charge", shape=component]', '  e0 -> h0']))
  expect(await run('topology', '--format', 'svg')).toMatchObject({ code: 2 })
})

it('pauses and resumes a group in all processes, and moves one without members', async () => {
  const { run, bus, events } = await scene()
  expect(await run('pause', 'billing')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--reason is needed/),
  })
  expect(await run('pause', 'biling', '--reason', 'OPS-12')).toMatchObject({ code: 4 })
  const paused = await run('pause', 'billing', '--reason', 'OPS-12', '--by', 'ada', '--json')
  expect(JSON.parse(paused.stdout)).toMatchObject({
    version: 1,
    group: 'billing',
    paused: { by: 'ada', why: 'OPS-12' },
  })
  await waitFor(async () => (await bus.health()).checks.consuming.detail?.startsWith('paused by ada'))
  expect(await run('pause', 'billing', '--reason', 'OPS-12', '--by', 'ada', '--wait', '20s')).toMatchObject({
    code: 0,
    stderr: 'paused the group billing; no handler of it runs any more',
  })
  expect((await run('groups')).stdout).toMatch(/^billing .* \d+ m?s by ada$/m)
  expect(await run('resume', 'billing')).toMatchObject({ code: 0, stderr: 'resumed the group billing' })
  expect(await run('resume', 'billing')).toMatchObject({
    code: 0,
    stderr: 'the group billing was not paused',
  })

  const to = (await run('events', '--from', 'first', '--limit', '1', '--json')).stdout
  expect(JSON.parse(to)).toMatchObject({ eventId: events[0]?.eventId })
  const { position } = JSON.parse(to)
  expect(await run('seek', 'reports', '--to', position, '--dry-run')).toMatchObject({
    ...{ code: 0, stdout: '' },
    stderr: 'would move the group reports, which gets 1 event',
  })
  const moved = await run('seek', 'reports', '--to', position, '--yes', '--json')
  expect(JSON.parse(moved.stdout)).toEqual({ version: 1, group: 'reports', events: 1, isMoved: true })
  expect(JSON.parse((await run('groups', 'reports', '--json')).stdout).groups).toMatchObject([{ lag: 1 }])
  expect(await run('seek', 'reports')).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--to is needed/),
  })
})

it('lists, finds and filters past events', async () => {
  const { run, events } = await scene()
  const [created, shipped] = events
  const listed = await run('events', '--from', 'first', '--json')
  const found = listed.stdout.split('\n').map((line) => JSON.parse(line))
  expect(found.map(({ eventId }) => eventId)).toEqual(events.map(({ eventId }) => eventId))
  expect(listed.stderr).toBe('2 events match, 2 of 2 read')
  expect(found[0]).toMatchObject({ version: 1, eventType: 'OrderCreated', aggregateId: 'o-1' })

  const filtered = await run('events', '--reverse', '--filter', 'type:OrderShipped aggregate:o-1')
  expect(filtered.stdout).toMatch(new RegExp(`^\\S+Z  OrderShipped  o-1  ${shipped?.eventId}  \\S+$`))
  const first = await run('events', '--limit', '1')
  const [, next = ''] = /; the next: (--from=\S+)$/.exec(first.stderr) ?? []
  expect((await run('events', next)).stdout).toContain(shipped?.eventId)

  const shown = await run('event', created?.eventId ?? '')
  expect(shown.stdout).toMatch(/^eventType +OrderCreated$/m)
  expect(shown.stdout).toMatch(/^body +\{.*"customer/m)
  expect(await run('event', 'nowhere')).toMatchObject({
    code: 4,
    stderr: 'There is no event "nowhere": 0 events match, 2 of 2 read.',
  })
  expect(await run('events', '--filter', 'agregate:o-1')).toMatchObject({
    code: 2,
    stderr: '--filter has an unknown key "agregate": did you mean aggregate?.',
  })
})

it('explains what each group has done with an event, and shows the tree of its correlation', async () => {
  const { run, bus, events } = await scene()
  const [created] = events
  const { eventId = '', correlationId } = created ?? {}
  const shipped = new OrderShipped({
    ...{ aggregateId: 'o-2', trackingNumber: 'TRACK-1' },
    ...{ correlationId, causationId: eventId },
  })
  const cancelled = new OrderCancelled({
    ...{ aggregateId: 'o-3', reason: 'late' },
    ...{ correlationId, causationId: shipped.eventId },
  })
  bus.subscribe(OrderCancelled, () => Promise.reject(new Error('no such order')), {
    name: 'refund',
    maxRetries: 0,
  })
  await bus.publish([shipped, cancelled])
  await waitFor(async () => (await bus.deadLetters.count()) === 1)

  const explained = await run('explain', eventId)
  expect([explained.code, explained.stderr]).toEqual([0, '2 events were caused by it: events read: 4 of 4'])
  expect(explained.stdout).toMatch(/^event +OrderCreated of Order o-1$/m)
  expect(explained.stdout).toMatch(/^published +\S+Z, \d+ s ago, position \d+-\d+$/m)
  expect(explained.stdout).toMatch(/^GROUP +STATE +ATTEMPTS +CONSUMER +DETAIL$/m)
  expect(explained.stdout).toMatch(/^billing +done +- +- +-$/m)
  expect(explained.stdout).toMatch(/^reports +waiting +0 +- +-$/m)
  expect(explained.stdout).toMatch(new RegExp(`^OrderCancelled +\\S+Z +o-3 +${cancelled.eventId}$`, 'm'))
  const dead = await run('explain', cancelled.eventId)
  expect(dead.stdout).toMatch(
    /^billing +dead letter +1 +- +refund: Error: no such order since \S+Z, dead letter \d/m,
  )
  const json = JSON.parse((await run('explain', cancelled.eventId, '--json')).stdout)
  expect(json).toMatchObject({
    version: 1,
    published: { eventType: 'OrderCancelled', causationId: shipped.eventId },
    groups: [
      { group: 'billing', state: 'deadLetter', deadLetters: [{ handlerNames: ['refund'], attempts: 1 }] },
      { group: 'reports', state: 'waiting', deadLetters: [] },
    ],
    search: { ended: 'limit' },
  })
  expect(await run('explain', 'nowhere')).toEqual({
    ...{ code: 4, stdout: '' },
    stderr: 'There is no trace of an event "nowhere": events read: 4 of 4.',
  })

  const traced = await run('trace', shipped.eventId)
  const lines = traced.stdout.split('\n')
  expect([traced.code, lines.length]).toEqual([0, 3])
  expect(lines[0]).toMatch(new RegExp(`^OrderCreated  o-1  \\S+Z  ${eventId}$`))
  expect(lines[1]).toMatch(new RegExp(`^└─ OrderShipped  o-2  \\S+Z  ${shipped.eventId}  <$`))
  expect(lines[2]).toMatch(new RegExp(`^   └─ OrderCancelled  o-3  \\S+Z  ${cancelled.eventId}$`))
  expect(JSON.parse((await run('trace', eventId, '--json')).stdout).events).toMatchObject([
    { depth: 0, eventId },
    { depth: 1, eventId: shipped.eventId },
    { depth: 2, eventId: cancelled.eventId },
  ])
  expect((await run('trace', 'nowhere')).code).toBe(4)
})

it('shows new events until the limit, and ends with success at Ctrl-C', async () => {
  const { run, bus, interrupt } = await scene()
  const limited = run('tail', '--limit', '1', '--filter', 'type:OrderShipped', '--json')
  let isEnded = false
  void limited.finally(() => {
    isEnded = true
  })
  await waitFor(async () => {
    await bus.publish([orderShipped('o-2')])
    return isEnded
  })
  const { code, stdout, stderr } = await limited
  expect([code, stderr]).toEqual([0, 'waiting for new events; Ctrl-C ends it'])
  expect(JSON.parse(stdout)).toMatchObject({ eventType: 'OrderShipped', aggregateId: 'o-2' })

  const endless = run('tail')
  interrupt.abort()
  expect(await endless).toMatchObject({ code: 0, stdout: '' })
})

it('serves the metrics of all groups to Prometheus until Ctrl-C', async () => {
  const { run, interrupt } = await scene()
  const port = await freePort()
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`)
  const serving = run('exporter', '--port', String(port))
  await waitFor(() =>
    get('/').then(
      () => true,
      () => false,
    ),
  )

  const answer = await get('/metrics')
  const text = await answer.text()
  const labels = (group: string) =>
    `\\{messaging_system="redis",messaging_destination_name="[^"]+",server_address="[^"]+",server_port="\\d+",messaging_consumer_group_name="${group}"\\}`
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  expect(text).toMatch(/^# HELP eventspine_group_lag Messages that wait for a group\.$/m)
  expect(text).toMatch(/^# TYPE eventspine_group_lag gauge$/m)
  expect(text).toMatch(new RegExp(`^eventspine_group_lag${labels('reports')} 2$`, 'm'))
  expect(text).toMatch(new RegExp(`^eventspine_group_members${labels('billing')} 1$`, 'm'))
  expect(text).toMatch(new RegExp(`^eventspine_group_dead_letters${labels('reports')} 0$`, 'm'))
  expect(text).toMatch(/^eventspine_exporter_connected 1$/m)
  expect((await get('/')).status).toBe(404)
  expect(await (await get('/metrics')).text()).toBe(text)

  const busy = await run('exporter', '--port', String(port))
  expect([busy.code, busy.stderr]).toEqual([
    2,
    expect.stringMatching(/cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/),
  ])
  interrupt.abort()
  expect(await serving).toEqual({
    ...{ code: 0, stdout: '' },
    stderr: `metrics at http://127.0.0.1:${port}/metrics; Ctrl-C ends it`,
  })
})

it('has examples that run', async () => {
  const { run, events } = await scene()
  const examples = examplesOf(
    'groups',
    'consumers',
    'topology',
    'pause',
    'resume',
    'seek',
    'events',
    'event',
    'tail',
    'explain',
    'trace',
    'exporter',
    'ui',
  )
  expect(examples).toHaveLength(19)
  for (const example of examples) {
    // The check finds nothing; the id is that of an event of the scene.
    const words = wordsOf(example.replace(/[0-9a-f-]{36}/, events[0]?.eventId ?? ''))
    const { code, stderr } = await run(...words)
    expect([example, code, stderr]).toEqual([example, 0, expect.anything()])
  }
})
