import { toError } from '../../errors.ts'
import { type Check, fault, type Problem, unknown, warning } from '../../transport/checkup.ts'
import type { RedisClient } from '../client/client.ts'
import { hasHashTag } from '../client/cluster-route.ts'
import type { ResolvedRedisOptions } from '../options.ts'
import { readPairs } from '../wire/replies.ts'
import { grantOf, missingRights } from './rights.ts'

export interface RedisCheckContext {
  readonly client: RedisClient
  readonly options: ResolvedRedisOptions
  /** The fields of INFO; undefined without the right to it. */
  readonly info: ReadonlyMap<string, string> | undefined
}

/** A larger difference of the clocks is reported, in milliseconds. */
const MAX_CLOCK_MS = 60_000
/** A larger part of `maxmemory` is reported. */
const MAX_MEMORY = 0.9
const NO_INFO = 'The user may not run INFO, so this is unknown.'

type InfoCheck = (info: ReadonlyMap<string, string>, context: RedisCheckContext) => readonly Problem[]

const onInfo = (name: string, check: InfoCheck): Check<RedisCheckContext> => ({
  name,
  run: async (context) =>
    context.info === undefined
      ? [unknown(NO_INFO, grantOf(context.options, ['+info']))]
      : check(context.info, context),
})

/** All checks of Redis. */
export const REDIS_CHECKS: readonly Check<RedisCheckContext>[] = [
  onInfo('redis-version', (info) => {
    const version = info.get('redis_version') ?? ''
    const [major = 0, minor = 0] = version.split('.').map(Number)
    if (version === '' || major > 6 || (major === 6 && minor >= 2)) return []
    return [fault(`The server has version ${version}.`, 'Update it to Redis 6.2 or newer, or Valkey.')]
  }),
  onInfo('redis-role', (info) =>
    info.get('role') === 'slave'
      ? [fault('The server is a read-only replica.', `Connect to its primary, ${primaryOf(info)}.`)]
      : [],
  ),
  onInfo('redis-cluster', (info, { options: { keys } }) =>
    info.get('cluster_enabled') === '1' && !hasHashTag(keys.stream)
      ? [
          fault(
            'The server is a node of a Redis Cluster.',
            'Set useHashTag, so that all keys are in one slot.',
          ),
        ]
      : [],
  ),
  onInfo('redis-eviction', (info) => {
    const policy = info.get('maxmemory_policy') ?? ''
    if (!policy.startsWith('allkeys-')) return []
    const text = `The server may evict whole streams: maxmemory-policy is ${policy}.`
    const remedy = 'redis-cli -u <url> CONFIG SET maxmemory-policy noeviction'
    return [
      info.get('maxmemory') === '0' ? warning(`${text} maxmemory is not set.`, remedy) : fault(text, remedy),
    ]
  }),
  onInfo('redis-memory', (info) => {
    const [used, limit] = [Number(info.get('used_memory')), Number(info.get('maxmemory'))]
    if (!(limit > 0) || used < limit * MAX_MEMORY) return []
    const share = Math.round((used / limit) * 100)
    return [
      warning(
        `The server uses ${share} % of maxmemory. It refuses publishes at 100 %.`,
        'Raise maxmemory, or trim the stream: maxAgeMs or maxLength.',
      ),
    ]
  }),
  { name: 'redis-persistence', run: persistenceProblems },
  { name: 'redis-keys', run: keyProblems },
  { name: 'redis-rights', run: ({ client, options }) => missingRights(client, options) },
  { name: 'redis-clock', run: clockProblems },
]

/** @returns undefined if the user may not run INFO. */
export async function readInfo(client: RedisClient): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    const lines = String(await client.sendCommand(['INFO'])).split('\r\n')
    return new Map(lines.map((line) => [line.split(':')[0] ?? '', line.slice(line.indexOf(':') + 1)]))
  } catch (thrown) {
    if (isRefused(thrown)) return undefined
    throw thrown
  }
}

function primaryOf(info: ReadonlyMap<string, string>): string {
  return `${info.get('master_host') ?? 'unknown'}:${info.get('master_port') ?? ''}`
}

async function persistenceProblems({
  client,
  info,
  options,
}: RedisCheckContext): Promise<readonly Problem[]> {
  if (info === undefined) return [unknown(NO_INFO, grantOf(options, ['+info']))]
  if (info.get('aof_enabled') !== '1') {
    const text = 'The server has no append-only file: a crash loses the events since the last snapshot.'
    return [
      warning(
        text,
        'Set it in the configuration of the server, too: redis-cli -u <url> CONFIG SET appendonly yes',
      ),
    ]
  }
  const status = info.get('aof_last_write_status')
  if (status !== undefined && status !== 'ok') {
    return [fault('The server cannot write its append-only file.', 'Free its disk, and look at its log.')]
  }
  const fsync = await configured(client, 'appendfsync')
  if (fsync === undefined) {
    return [
      unknown(
        'The user may not run CONFIG GET, so appendfsync is unknown.',
        grantOf(options, ['+config|get']),
      ),
    ]
  }
  if (fsync !== 'no') return []
  const text = 'appendfsync is no: a crash of the machine loses the events of the last 30 s or more.'
  return [warning(text, 'redis-cli -u <url> CONFIG SET appendfsync everysec')]
}

async function configured(client: RedisClient, name: string): Promise<string | undefined> {
  try {
    const reply = await client.sendCommand(['CONFIG', 'GET', name])
    return String(readPairs(reply).get(name) ?? '')
  } catch (thrown) {
    if (isRefused(thrown)) return undefined
    throw thrown
  }
}

/** The user lacks the right, or the provider of the server has removed the command. */
function isRefused(thrown: unknown): boolean {
  return /^NOPERM|unknown command/i.test(toError(thrown).message)
}

async function keyProblems({ client, options: { keys } }: RedisCheckContext): Promise<readonly Problem[]> {
  const names = [...keys.streams, keys.deadLetters]
  const types = await Promise.all(names.map(async (key) => String(await client.sendCommand(['TYPE', key]))))
  return names.flatMap((key, index) => {
    const type = types[index] ?? 'none'
    if (type === 'stream' || type === 'none') return []
    return [
      fault(
        `The key ${key} is a ${type}, not a stream.`,
        `Choose another streamPrefix, or delete the key: redis-cli -u <url> DEL '${key}'`,
      ),
    ]
  })
}

async function clockProblems({ client }: RedisCheckContext): Promise<readonly Problem[]> {
  const before = Date.now()
  const reply = await client.sendCommand(['TIME'])
  const here = (before + Date.now()) / 2
  const [seconds, micros]: unknown[] = Array.isArray(reply) ? reply : []
  const differenceMs = here - (Number(seconds) * 1000 + Number(micros) / 1000)
  if (Math.abs(differenceMs) <= MAX_CLOCK_MS) return []
  const minutes = Math.round(Math.abs(differenceMs) / 60_000)
  const direction = differenceMs > 0 ? 'ahead of' : 'behind'
  const text = `The clock of this machine is ${minutes} min ${direction} that of the server: ages and searches by time are wrong.`
  return [warning(text, 'Synchronize both clocks, for example with chrony.')]
}
