import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { afterAll, expect, it, onTestFinished, vi } from 'vitest'
import { run } from '../../../src/cli/run.ts'
import type { EventBus, Finding } from '../../../src/index.ts'
import { freePort } from '../../brokers/free-port.ts'
import { launchBroker } from '../../brokers/launch-broker.ts'
import { wordsOf } from '../../cli/words.ts'
import { Certificates } from '../../support/certificates.ts'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'
import { examplesOf, shell } from '../shell.ts'

// Faults that are planted in a server of its own, with Redis's own commands.
const broker = await launchBroker('redis', { config: [] })

afterAll(() => broker.dispose())

const PASSWORD = 'canary-5d1f'

/** Runs the command. No output may have the password. */
async function examine(url = broker.url, prefix = freshPrefix(), ...words: readonly string[]) {
  const { code, stdout, stderr } = await shell(url, prefix).run('doctor', '--json', ...words)
  expect(`${stdout}${stderr}`).not.toContain(PASSWORD)
  const findings: readonly Finding[] = JSON.parse(stdout).findings
  return { code, findings, problems: findings.filter(({ level }) => level !== 'ok') }
}

async function findingsOf({ admin }: EventBus): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for await (const finding of admin.diagnose()) findings.push(finding)
  return findings
}

const as = (user: string) => `redis://${user}:${PASSWORD}@127.0.0.1:${broker.port}`

/** Everything that the server has, and the commands that it refused. */
async function stateOf(client: Awaited<ReturnType<typeof connectClient>>) {
  const keys = (await client.keys('*')).toSorted()
  const streams = await Promise.all(
    keys.map((key) => client.sendCommand(['XINFO', 'STREAM', key, 'FULL']).catch(() => '')),
  )
  const dumps = await Promise.all(keys.map((key) => client.sendCommand(['DUMP', key])))
  return [keys, streams, dumps, await client.sendCommand(['ACL', 'LOG'])]
}

it('finds nothing on a healthy server, and leaves it as it was', async () => {
  const prefix = freshPrefix()
  const bus = createBus({ redisUrl: broker.url, streamPrefix: prefix })
  bus.subscribe(Noted, () => undefined, { name: 'notes' })
  await consume(bus)
  await bus.publish(notes('a', 3))
  await waitFor(async () => (await bus.admin.group('default')).lag === 0 && bus.getStats().inFlight === 0)
  const empty = await examine()
  const client = await connectClient(broker.url)
  const other = freshPrefix()
  await client.sendCommand(['XADD', `${other}:stream`, '*', 'event_id', 'x'])
  const ofOthers = (state: unknown) => JSON.stringify(state)
  await bus.stopConsuming()
  const before = ofOthers(await stateOf(client))

  const { code, problems } = await examine(broker.url, other)

  expect([code, problems]).toEqual([0, []])
  expect([empty.code, empty.problems]).toEqual([0, []])
  expect(ofOthers(await stateOf(client))).toBe(before)
  const table = await shell(broker.url, prefix).run('doctor')
  expect(table.stdout).toMatch(/^ok +connection +Connected to Redis \d\S* at 127\.0\.0\.1:\d+\.$/m)
  const { run } = shell(broker.url, other)
  for (const example of examplesOf('doctor')) {
    expect([example, (await run(...wordsOf(example))).code]).toEqual([example, 0])
  }
})

type Send = (...words: string[]) => Promise<unknown>

const SETTINGS: readonly {
  readonly check: string
  readonly plant: (send: Send) => Promise<unknown>
  readonly undo: (send: Send) => Promise<unknown>
  readonly problem: { readonly level: string; readonly text: RegExp; readonly remedy: RegExp }
}[] = [
  {
    check: 'redis-eviction',
    plant: (send) => send('CONFIG', 'SET', 'maxmemory', '500mb', 'maxmemory-policy', 'allkeys-lru'),
    undo: (send) => send('CONFIG', 'SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction'),
    problem: { level: 'fault', text: /maxmemory-policy is allkeys-lru/, remedy: /noeviction/ },
  },
  {
    check: 'redis-persistence',
    plant: (send) => send('CONFIG', 'SET', 'appendfsync', 'no'),
    undo: (send) => send('CONFIG', 'SET', 'appendfsync', 'everysec'),
    problem: { level: 'warning', text: /appendfsync is no/, remedy: /everysec/ },
  },
  {
    check: 'redis-persistence',
    plant: (send) => send('CONFIG', 'SET', 'appendonly', 'no'),
    undo: (send) => send('CONFIG', 'SET', 'appendonly', 'yes'),
    problem: { level: 'warning', text: /no append-only file/, remedy: /appendonly yes/ },
  },
  {
    check: 'redis-role',
    plant: (send) => send('REPLICAOF', '127.0.0.1', '1'),
    undo: (send) => send('REPLICAOF', 'NO', 'ONE'),
    problem: { level: 'fault', text: /read-only replica/, remedy: /primary, 127\.0\.0\.1:1\b/ },
  },
  {
    check: 'redis-clock',
    plant: () => {
      const now = Date.now
      vi.spyOn(Date, 'now').mockImplementation(() => now() + 600_000)
      return Promise.resolve()
    },
    undo: () => Promise.resolve(vi.restoreAllMocks()),
    problem: { level: 'warning', text: /10 min ahead of that of the server/, remedy: /Synchronize/ },
  },
]

it.each(SETTINGS)(
  'finds a planted fault of $check: $problem.text',
  async ({ check, plant, undo, problem }) => {
    const client = await connectClient(broker.url)
    const send: Send = (...words) => client.sendCommand(words)
    await plant(send)
    const { code, problems } = await examine().finally(() => undo(send))

    const { level, text, remedy } = problem
    const found = { check, level, text: expect.stringMatching(text), remedy: expect.stringMatching(remedy) }
    expect([code, problems]).toEqual([5, [found]])
  },
)

it('finds memory that is nearly full', async () => {
  const client = await connectClient(broker.url)
  await client.sendCommand(['CONFIG', 'SET', 'maxmemory', '8mb'])
  const info = String(await client.sendCommand(['INFO', 'memory']))
  const used = Number(/used_memory:(\d+)/.exec(info)?.[1])
  await client.sendCommand(['CONFIG', 'SET', 'maxmemory', String(Math.round(used * 1.04))])
  const { code, problems } = await examine().finally(() =>
    client.sendCommand(['CONFIG', 'SET', 'maxmemory', '0']),
  )
  expect([code, problems]).toEqual([
    5,
    [
      expect.objectContaining({
        check: 'redis-memory',
        text: expect.stringMatching(/uses \d+ % of maxmemory/),
      }),
    ],
  ])
})

it('finds a key of another type, a group without consumers, and dead letters', async () => {
  const client = await connectClient(broker.url)
  const prefix = freshPrefix()
  await client.sendCommand(['SET', `${prefix}:stream:dlq`, 'text'])
  await client.sendCommand(['SET', `${prefix}:stream_dlq`, 'text'])
  await client.sendCommand(['LPUSH', `${prefix}:stream`, 'text'])
  const wrong = await examine(broker.url, prefix)
  expect(wrong.code).toBe(5)
  expect(wrong.problems).toContainEqual({
    ...{ check: 'redis-keys', level: 'fault', text: `The key ${prefix}:stream is a list, not a stream.` },
    remedy: `Choose another streamPrefix, or delete the key: redis-cli -u ${broker.url} DEL '${prefix}:stream'`,
  })

  const streamPrefix = freshPrefix()
  const bus = createBus({ redisUrl: broker.url, streamPrefix, consumerGroup: 'billing', maxRetries: 0 })
  bus.subscribe(Noted, () => Promise.reject(new Error('planned')), { name: 'charge' })
  await consume(bus)
  await bus.publish(notes('a', 2))
  await waitFor(async () => (await bus.deadLetters.count()) === 2)
  await bus.stopConsuming()
  await bus.publish(notes('a', 1))
  await bus.shutdown()
  const { code, problems } = await examine(broker.url, streamPrefix)
  expect([code, problems]).toEqual([
    5,
    [
      {
        ...{ check: 'groups', level: 'warning' },
        text: 'Nobody consumes for the group billing, and 1 event waits for it.',
        remedy: `Start a consumer, or remove the group: eventspine groups delete 'billing' ${broker.url} --prefix ${streamPrefix}`,
      },
      {
        ...{ check: 'groups', level: 'warning', text: 'The group billing has 2 dead letters.' },
        remedy: `Look at their errors, and replay them: eventspine dlq summary --filter 'group:billing' ${broker.url} --prefix ${streamPrefix}`,
      },
    ],
  ])
  for (const { remedy = '' } of problems) {
    const [, command = ''] = / eventspine (.*)$/.exec(remedy) ?? []
    const words = wordsOf(command).filter((word) => word !== broker.url)
    const { run } = shell(broker.url, streamPrefix, 'y')
    expect([command, (await run(...words.slice(0, words.indexOf('--prefix')))).code]).toEqual([command, 0])
  }
})

it('names the bus in the commands of its remedies as the command line did, without a password', async () => {
  const client = await connectClient(broker.url)
  await client.sendCommand(['CONFIG', 'SET', 'maxmemory', '500mb', 'maxmemory-policy', 'allkeys-lru'])
  onTestFinished(async () => {
    await client.sendCommand(['CONFIG', 'SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction'])
  })
  await client.sendCommand(['ACL', 'SETUSER', 'operator', 'on', `>${PASSWORD}`, '~*', '+@all'])
  const prefix = freshPrefix()
  await client.sendCommand(['XGROUP', 'CREATE', `${prefix}:stream`, 'left', '$', 'MKSTREAM'])
  const remediesOf = async (environment: Record<string, string>, ...words: readonly string[]) => {
    const lines: string[] = []
    const ignore = () => undefined
    const out = (text: string) => Promise.resolve(void lines.push(text))
    const terminal = { out, err: ignore, columns: undefined, hasColor: false, ask: undefined, environment }
    const { folder: workingDirectory } = shell(broker.url, prefix)
    const { signal: interrupted } = new AbortController()
    await run(['doctor', '--json', ...words], { ...terminal, workingDirectory, interrupted })
    const findings: readonly Finding[] = JSON.parse(lines.join('')).findings
    return findings.flatMap(({ remedy }) => remedy ?? [])
  }
  const [eviction, group] = ['CONFIG SET maxmemory-policy noeviction', "eventspine groups delete 'left'"]

  expect(await remediesOf({}, broker.url, '--prefix', prefix)).toEqual([
    `redis-cli -u ${broker.url} ${eviction}`,
    expect.stringMatching(new RegExp(` ${group} ${broker.url} --prefix ${prefix}$`)),
  ])
  expect(await remediesOf({}, as('operator'), '--prefix', prefix)).toEqual([
    `redis-cli -u <url> ${eviction}`,
    expect.stringMatching(new RegExp(` ${group} <url> --prefix ${prefix}$`)),
  ])
  expect(await remediesOf({ EVENTSPINE_URL: as('operator') }, '--prefix', prefix)).toEqual([
    `redis-cli -u "$EVENTSPINE_URL" ${eviction}`,
    expect.stringMatching(new RegExp(` ${group} --prefix ${prefix}$`)),
  ])
})

it('names each missing right, and says what it could not check', async () => {
  const client = await connectClient(broker.url)
  const user = (name: string, ...rights: string[]) =>
    client.sendCommand(['ACL', 'SETUSER', name, 'on', `>${PASSWORD}`, '~*', '+@all', ...rights])
  await user('limited', '-xadd', '-hset', '-client|list')
  const limited = await examine(as('limited'))
  expect([limited.code, limited.problems]).toEqual([
    5,
    [
      {
        ...{ check: 'redis-rights', level: 'fault' },
        text: 'The user may not run XADD on the keys of the bus. The bus does not work without them.',
        remedy: 'redis-cli -u <admin-url> ACL SETUSER limited +xadd',
      },
      {
        ...{ check: 'redis-rights', level: 'warning' },
        text: expect.stringMatching(/^The user may not run HSET, CLIENT\|LIST on/),
        remedy: expect.stringContaining('+hset +client|list'),
      },
    ],
  ])
  await client.sendCommand(['ACL', 'SETUSER', 'elsewhere', 'on', `>${PASSWORD}`, '~other:*', '+@all'])
  const foreign = freshPrefix()
  const elsewhere = await examine(as('elsewhere'), foreign)
  const [needed] = elsewhere.problems.filter(({ check }) => check === 'redis-rights')
  expect(needed).toMatchObject({
    text: expect.stringContaining(`keys ${foreign}:stream, ${foreign}:stream_dlq, `),
    remedy: `redis-cli -u <admin-url> ACL SETUSER elsewhere '~${foreign}:*'`,
  })
  for (const { remedy = '' } of limited.problems) {
    await client.sendCommand(
      wordsOf(remedy)
        .slice(3)
        .map((word) => word.replace(/^'|'$/g, '')),
    )
  }
  expect((await examine(as('limited'))).problems).toEqual([])
  const own = freshPrefix()
  const patterns = ['resetkeys', `~${own}:stream`, `~${own}:stream:*`, `~${own}:stream_dlq`]
  await user('patterned', ...patterns, `~${own}:retry:*`)
  const patterned = await examine(as('patterned'), own)
  expect([patterned.code, patterned.problems]).toMatchObject([
    5,
    [
      {
        text: `The user may not read and write the keys ${own}:stream_dlq:parked. The bus does not work without them.`,
      },
    ],
  ])
  await user(
    'silent',
    'resetkeys',
    `~${own}:retry:*`,
    `~${own}:stream`,
    `~${own}:stream_dlq*`,
    `~${own}:stream:replay:*`,
  )
  const silent = await examine(as('silent'), own)
  expect(silent.problems).toMatchObject([
    {
      ...{ check: 'redis-rights', level: 'warning' },
      text: expect.stringContaining(`keys ${own}:stream:presence, ${own}:stream:presence:expiries, `),
      remedy: `redis-cli -u <admin-url> ACL SETUSER silent '~${own}:*'`,
    },
  ])
  await user('reader', 'resetkeys', `%R~${own}:*`, `~${own}:stream`, `~${own}:stream_dlq*`, `~${own}:retry:*`)
  expect((await examine(as('reader'), own)).problems[0]?.text).toContain(
    `keys ${own}:stream:replay:default. `,
  )
  await user('scriptless', '-eval')
  expect((await examine(as('scriptless'))).problems).toMatchObject([
    { check: 'redis-rights', level: 'fault' },
  ])
  await user('blind', '-info', '-config')
  const blind = await examine(as('blind'))
  expect(blind.code).toBe(5)
  expect(blind.problems.filter(({ level }) => level === 'unknown')).toMatchObject([
    ...['redis-version', 'redis-role', 'redis-cluster', 'redis-eviction', 'redis-memory'].map((check) => ({
      check,
    })),
    { check: 'redis-persistence', remedy: 'redis-cli -u <admin-url> ACL SETUSER blind +info' },
  ])
})

it('says why it cannot connect, and how to fix that', async () => {
  const certificates = await Certificates.create()
  onTestFinished(() => certificates.remove())
  await certificates.makeExpired('expired')
  await certificates.makeAuthority('authority')
  await certificates.make('elsewhere', 'authority', 'DNS:elsewhere.test')
  const tlsPort = async (name: string) => {
    const [key, cert] = await Promise.all([
      certificates.read(`${name}.key`),
      certificates.read(`${name}.pem`),
    ])
    const server = createServer({ key, cert }, (socket) => socket.on('error', () => undefined))
    server.listen(0, 'localhost')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    // A server that listens on TCP has an address of this type.
    return (server.address() as AddressInfo).port
  }
  const connectTo = async (redisUrl: string, ca?: string) => {
    const tls = ca === undefined ? {} : { tls: { ca: await certificates.read(`${ca}.pem`) } }
    const bus = createBus({ redisUrl, ...tls })
    const findings = await findingsOf(bus)
    expect(findings).toHaveLength(1)
    expect(findings).toMatchObject([{ check: 'connection', level: 'fault' }])
    return `${findings[0]?.text} → ${findings[0]?.remedy}`
  }
  const plainToTls = await tlsPort('elsewhere')

  expect(await connectTo(`rediss://localhost:${await tlsPort('expired')}`, 'expired')).toMatch(
    /certificate has expired.* → Renew the certificate/,
  )
  expect(await connectTo(`rediss://localhost:${plainToTls}`, 'authority')).toMatch(
    /localhost.* → Connect by a name that is in the certificate/,
  )
  expect(await connectTo(`rediss://localhost:${plainToTls}`)).toMatch(/ → Pass the certificate authority/)
  expect(await connectTo(`redis://localhost:${plainToTls}`)).toMatch(/ → Check whether this port expects TLS/)
  const silent = createBus({ redisUrl: `rediss://127.0.0.1:${broker.port}`, socketConnectTimeoutMs: 300 })
  const [unanswered] = await findingsOf(silent)
  expect(unanswered?.remedy).toMatch(/firewall, and whether this port speaks TLS/)
  expect(await connectTo('redis://no-such-host.invalid')).toMatch(
    /(ENOTFOUND|EAI_AGAIN).* → Check the host name/,
  )
  const closed = await examine(`redis://127.0.0.1:${await freePort()}`)
  expect([closed.code, closed.problems]).toMatchObject([
    3,
    [{ remedy: 'Start the broker, or check host and port.' }],
  ])
  const refused = await examine(as('nobody'))
  expect(refused.code).toBe(3)
  expect(refused.problems[0]?.text).toMatch(/refuses the credentials .*Check user name and password\.$/)
})
