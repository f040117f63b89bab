import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createClient, createCluster } from 'redis'
import { afterAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import type { EventHandler, HandlerContext } from '../../src/index.ts'
import {
  type RedisCommandClient,
  type RedisEffects,
  RedisInbox,
  type RedisInboxHandler,
  type RedisInboxOptions,
} from '../../src/redis/index.ts'
import { describeInbox, type InboxUnderTest } from '../../src/testing/index.ts'
import { freePort } from '../brokers/free-port.ts'
import { itUnless } from '../support/left-out.ts'
import { waitFor } from '../support/wait-for.ts'
import {
  connectClient,
  consume,
  createBus,
  failure,
  freshPrefix,
  launchRedis,
  Noted,
  notes,
  startProxy,
} from './scene.ts'

const suiteClient = createClient({ url: inject('redisUrl') })
await suiteClient.connect()
afterAll(() => suiteClient.destroy())

interface ListInbox extends InboxUnderTest<RedisEffects> {
  readonly keyPrefix: string
}

const listInbox = (keyPrefix: string): ListInbox => ({
  keyPrefix,
  inbox: new RedisInbox({ client: suiteClient, keyPrefix }),
  write: (tx, n) => tx.add(['RPUSH', `${keyPrefix}:list`, n]),
  effects: async () => (await suiteClient.lRange(`${keyPrefix}:list`, 0, -1)).map(Number),
})

describeInbox<RedisEffects>('RedisInbox', {
  runner: { describe, it },
  createInbox: () => listInbox(freshPrefix()),
  another: (inbox) => listInbox((inbox as ListInbox).keyPrefix),
})

const [event] = notes('a', 1) as [Noted]

/** Delivers an event as a bus does. */
async function deliver(handler: EventHandler<Noted>, signal = new AbortController().signal) {
  const context: HandlerContext = {
    ...{ signal, attempt: 1, deliveryCount: 1, consumerGroup: undefined, messageId: undefined },
  }
  await handler.handle(event, context)
}

/** An inbox of its own keys, and a client that sees the effects. */
async function scene(options: Partial<RedisInboxOptions> = {}) {
  const client = await connectClient()
  const keyPrefix = freshPrefix()
  const list = `${keyPrefix}:list`
  const inbox = new RedisInbox({ client, keyPrefix, ...options })
  const push: RedisInboxHandler<Noted> = ({ n }, { tx }) => tx.add(['RPUSH', list, n])
  return {
    ...{ client, keyPrefix, list, inbox, push },
    effects: () => client.lRange(list, 0, -1),
    locks: () => client.keys(`${keyPrefix}:lock:*`),
  }
}

it('has the effect of an event once on a bus that delivers it again', async () => {
  const { inbox, effects, push } = await scene()
  const bus = createBus({ maxRetries: 0 })
  let isBroken = true
  bus.subscribe(Noted, inbox.once('count', push), { name: 'count' })
  bus.subscribe(
    Noted,
    () => {
      if (isBroken) throw new Error('broken')
    },
    { name: 'broken' },
  )
  await consume(bus)
  await bus.publish([event])
  await bus.publish([event])
  await waitFor(async () => (await bus.deadLetters.count()) === 2)
  isBroken = false
  await bus.deadLetters.replayAll()
  await waitFor(async () => (await bus.deadLetters.count()) === 0)

  expect(await effects()).toEqual(['0'])
})

it('lets another worker handle an event whose worker was killed', async () => {
  const { keyPrefix, inbox, push, effects } = await scene()
  const program = fileURLToPath(new URL('inbox-program.ts', import.meta.url))
  const child = spawn(process.execPath, [program, inject('redisUrl'), keyPrefix, event.eventId], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await deliver(inbox.once('handler', push))

  expect(await effects()).toEqual(['0'])
})

it('keeps its lock while the handler runs', async () => {
  const { client, inbox, list, effects, locks } = await scene({ lockMs: 90 })
  const mayEnd = Promise.withResolvers<void>()
  const first = deliver(
    inbox.once<Noted>('handler', async ({ n }, { tx }) => {
      await mayEnd.promise
      tx.add(['RPUSH', list, n])
    }),
  )
  await waitFor(async () => (await locks()).length === 1)
  const [lock = ''] = await locks()
  for (let renewals = 0, left = 90; renewals < 4; ) {
    const now = await client.pTTL(lock)
    expect(now).toBeGreaterThan(0)
    if (now > left) renewals += 1
    left = now
  }
  mayEnd.resolve()
  await first

  expect(await effects()).toEqual(['0'])
  expect(await locks()).toEqual([])
})

it('drops the commands of a worker that lost its lock to another one', async () => {
  const { client, inbox, push, list, effects, locks } = await scene()
  const mayEnd = Promise.withResolvers<void>()
  const stalled = deliver(
    inbox.once<Noted>('handler', async (_event, { tx }) => {
      await mayEnd.promise
      tx.add(['RPUSH', list, 'stalled'])
    }),
  )
  await waitFor(async () => (await locks()).length === 1)
  await client.del(await locks())
  await deliver(inbox.once('handler', push))
  mayEnd.resolve()
  await stalled

  expect(await effects()).toEqual(['0'])
})

it('releases the event when an attempt is aborted, while its handler still runs', async () => {
  const { inbox, push, list, effects } = await scene()
  const mayEnd = Promise.withResolvers<void>()
  const abort = new AbortController()
  const isRunning = Promise.withResolvers<void>()
  const late = new Error('too late')
  const first = failure(
    deliver(
      inbox.once<Noted>('handler', async (_event, { tx }) => {
        isRunning.resolve()
        await mayEnd.promise
        tx.add(['RPUSH', list, 'late'])
      }),
      abort.signal,
    ),
  )
  await isRunning.promise
  abort.abort(late)
  await deliver(inbox.once('handler', push))
  mayEnd.resolve()

  expect(await first).toBe(late)
  expect(await effects()).toEqual(['0'])
})

it('finds the record of a commit whose answer was lost', async () => {
  const { keyPrefix, push, inbox, effects } = await scene()
  const { proxy, redisUrl } = await startProxy()
  const client = await connectClient(redisUrl)
  const behindProxy = new RedisInbox({ client, keyPrefix })
  const attempt = failure(
    deliver(
      behindProxy.once('handler', (...args) => {
        proxy.loseAnswers(true)
        return push(...args)
      }),
    ),
  )
  await waitFor(() => inbox.has('handler', event.eventId))
  proxy.loseAnswers(false)
  expect(await attempt).toMatchObject({ code: 'CONNECTION_LOST', retryable: true })
  await deliver(behindProxy.once('handler', push))

  expect(await effects()).toEqual(['0'])
})

const version = Number(/redis_version:(\d+)/.exec(await suiteClient.info('server'))?.[1])
const obstacle = version < 7 ? 'needs Redis 7, whose scripts can ask for the rights of a command' : undefined
itUnless(
  obstacle,
  'runs no command of a handler if the server does not know one of them, or does not allow it',
  async () => {
    const { client, inbox, list, effects } = await scene()
    const add = (command: readonly [string, ...string[]]) =>
      inbox.once<Noted>('handler', (_event, { tx }) => {
        tx.add(['RPUSH', list, 1])
        tx.add(command)
      })
    const unknown = await failure(deliver(add(['NOSUCHCOMMAND', 'a'])))
    await client.sendCommand(['ACL', 'SETUSER', 'limited', 'on', '>pw-limited', '~*', '+@all', '-incr'])
    onTestFinished(async () => void (await client.sendCommand(['ACL', 'DELUSER', 'limited'])))
    const url = new URL(inject('redisUrl'))
    const limited = await connectClient(`redis://limited:pw-limited@${url.host}`)
    const handler = new RedisInbox({ client: limited, keyPrefix: 'other' }).once<Noted>(
      'handler',
      (_event, { tx }) => {
        tx.add(['RPUSH', list, 1])
        tx.add(['INCR', `${list}:count`])
      },
    )
    const forbidden = await failure(deliver(handler))

    expect(unknown).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
    expect(unknown.message).toContain('refused command 2 of 2 (NOSUCHCOMMAND)')
    expect(forbidden.message).toContain('NOPERM')
    expect(await effects()).toEqual([])
  },
)

it('does not repeat commands that took effect before one that the server refused', async () => {
  const { client, keyPrefix, inbox, list, effects } = await scene()
  await client.set(`${keyPrefix}:text`, 'a')
  const handler = inbox.once<Noted>('handler', ({ n }, { tx }) => {
    tx.add(['RPUSH', list, n])
    tx.add(['INCR', `${keyPrefix}:text`])
  })
  const error = await failure(deliver(handler))

  expect(error).toMatchObject({ code: 'NON_RETRYABLE' })
  expect(error.message).toMatch(
    /refused command 2 of 2 .*not an integer.* The commands before it took effect/,
  )
  expect(await effects()).toEqual(['0'])
  expect(await inbox.has('handler', event.eventId)).toBe(false)
})

it('removes a record when its retention is over, and handles the event again then', async () => {
  const { inbox, push, effects } = await scene({ retentionMs: 50 })
  const handler = inbox.once('handler', push)
  await deliver(handler)
  await waitFor(async () => !(await inbox.has('handler', event.eventId)))
  await deliver(handler)

  expect(await effects()).toEqual(['0', '0'])
})

it('needs two commands for each event, and one for a redelivery', async () => {
  const { client, keyPrefix, push } = await scene()
  const sent: string[] = []
  const counting: RedisCommandClient = {
    sendCommand: (command) => {
      sent.push(String(command[0]))
      return client.sendCommand(command)
    },
  }
  const handler = new RedisInbox({ client: counting, keyPrefix }).once('handler', push)
  await deliver(handler)
  expect(sent).toEqual(['EVAL', 'EVAL'])
  await deliver(handler)
  expect(sent).toEqual(['EVAL', 'EVAL', 'EVAL'])
})

it('works in a Redis Cluster if all keys have the hash tag of the prefix', async () => {
  const node = await launchRedis('cluster-enabled yes', `cluster-port ${await freePort()}`)
  const admin = await connectClient(node.url)
  await admin.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383'])
  await waitFor(async () => String(await admin.sendCommand(['CLUSTER', 'INFO'])).includes('cluster_state:ok'))
  const cluster = createCluster({ rootNodes: [{ url: node.url }] })
  await cluster.connect()
  onTestFinished(() => cluster.destroy())
  // The first key of EVAL decides the node.
  const client: RedisCommandClient = {
    sendCommand: (command) => cluster.sendCommand(command[command[0] === 'EVAL' ? 3 : 1], false, command),
  }
  const push: RedisInboxHandler<Noted> = ({ n }, { tx }) => tx.add(['RPUSH', '{sales}:list', n])
  const tagged = new RedisInbox({ client, keyPrefix: '{sales}:inbox' })
  await deliver(tagged.once('handler', push))
  await deliver(tagged.once('handler', push))
  const untagged = await failure(deliver(new RedisInbox({ client }).once('handler', push)))

  expect(await admin.lRange('{sales}:list', 0, -1)).toEqual(['0'])
  expect(untagged).toMatchObject({ code: 'TOPOLOGY_CONFLICT', retryable: false })
  expect(untagged.message).toContain('hash tag')
})

it('refuses wrong options and commands with a sentence', async () => {
  const { client, inbox } = await scene()
  const { handle } = inbox.once<Noted>('handler', (_event, { tx }) => tx.add([] as never))

  expect(() => new RedisInbox({} as never)).toThrow(/client/)
  expect(() => new RedisInbox({ client: {} as never })).toThrow(/client of node-redis/)
  expect(() => new RedisInbox({ client, lockMs: 0 })).toThrow(/lockMs/)
  await expect(deliver({ handle })).rejects.toThrow(
    /tx.add takes an array of 1 to 7000 parts, got an array of 0/,
  )
})
