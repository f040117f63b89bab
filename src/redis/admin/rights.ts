import { toError } from '../../errors.ts'
import { fault, type Problem, unknown, warning } from '../../transport/checkup.ts'
import type { RedisClient } from '../client/client.ts'
import type { RedisKeys, ResolvedRedisOptions } from '../options.ts'

/** Without these, the bus does not publish, consume or store dead letters. */
const NEEDED =
  'XADD XREAD XREADGROUP XACK XCLAIM XPENDING XRANGE XDEL XLEN XINFO|STREAM XGROUP|CREATE TYPE EXISTS GET SET UNLINK PING CLIENT|ID'
/** Without these, the bus works, but less well. docs/redis.md says how. */
const OPTIONAL =
  'XREVRANGE XTRIM HGET HSET HSETNX HDEL HGETALL HRANDFIELD HSCAN SADD SREM SMEMBERS SISMEMBER ZADD ZREM ZCARD ZSCORE ' +
  'ZRANGEBYSCORE RPUSH LPOS LLEN LINDEX LREM PEXPIRE TIME WATCH MULTI EXEC INFO CLIENT|INFO CLIENT|LIST CLIENT|UNBLOCK'

/** What follows the name of a command. Redis 8 refuses to check a command with a wrong number of arguments. */
const ARGUMENTS: Readonly<Record<string, (key: string) => readonly string[]>> = {
  XREAD: (key) => ['STREAMS', key, '$'],
  XREADGROUP: (key) => ['GROUP', 'doctor', 'doctor', 'STREAMS', key, '>'],
  XADD: (key) => [key, '*', 'name', 'value'],
  XCLAIM: (key) => [key, 'doctor', 'doctor', '0', '1-1'],
  'XINFO|STREAM': (key) => [key],
  TIME: () => [],
  MULTI: () => [],
  EXEC: () => [],
  PING: () => [],
  INFO: () => [],
  'CLIENT|ID': () => [],
  'CLIENT|INFO': () => [],
  'CLIENT|LIST': () => [],
  'CLIENT|UNBLOCK': () => ['0'],
  ...argumentsOf('TYPE GET EXISTS UNLINK WATCH HGETALL SMEMBERS ZCARD LLEN XLEN', []),
  ...argumentsOf('HGET SISMEMBER ZSCORE LINDEX PEXPIRE', ['1']),
  ...argumentsOf('HSETNX LREM', ['1', '1']),
}

function argumentsOf(names: string, rest: readonly string[]) {
  return Object.fromEntries(names.split(' ').map((name) => [name, (key: string) => [key, ...rest]]))
}

/** Commands that need no pattern of keys. */
const isKeyless = (name: string) => /^(?:TIME|PING|INFO|MULTI|EXEC|CLIENT\|.*)$/.test(name)

/**
 * ARGV: a JSON array of commands. Returns the numbers of those that the user may not run, without running any; nil if the
 * server cannot check them.
 */
const SCRIPT = `
if not redis.acl_check_cmd then return false end
local denied = {}
for number, command in ipairs(cjson.decode(ARGV[1])) do
  if not redis.acl_check_cmd(unpack(command)) then denied[#denied + 1] = number end
end
return denied`

/** Keys without which the bus does not publish, consume or store dead letters. */
const neededKeys = (keys: RedisKeys, group: string) => [
  ...keys.streams,
  keys.deadLetters,
  keys.parked,
  keys.replays(group),
  keys.retry(group, '0-1'),
]

/** Keys without which the bus works, but less well. */
const optionalKeys = (keys: RedisKeys, group: string) => [
  keys.presence,
  `${keys.presence}:expiries`,
  keys.control(group),
  keys.types(group),
  keys.consumer(group, 'doctor'),
  keys.members(group),
  keys.leases(group),
  keys.departed(group),
  keys.waiting(group),
  keys.waitingSince(group),
  keys.waitingEntry(group, '0-1'),
  keys.waitingOrder(group, 'doctor', 'doctor'),
  keys.rate(group, 'doctor'),
]

/** Commands that only read or only write, for the key patterns of a user. */
const PROBES = ['GET', 'SET']

/** The commands and keys that docs/redis.md names and the user may not use. */
export async function missingRights(
  client: RedisClient,
  options: ResolvedRedisOptions,
): Promise<readonly Problem[]> {
  const { keys, consumerGroup } = options
  const names = `${NEEDED} ${OPTIONAL}`.split(' ')
  const places = [...neededKeys(keys, consumerGroup), ...optionalKeys(keys, consumerGroup)]
  const commands = [
    ...names.map((name) => commandOf(name, keys.stream)),
    ...places.flatMap((key) => PROBES.map((name) => commandOf(name, key))),
  ]
  let reply: unknown
  try {
    reply = await client.sendCommand(['EVAL', SCRIPT, '0', JSON.stringify(commands)])
  } catch (thrown) {
    const { message } = toError(thrown)
    if (message.startsWith('NOPERM')) {
      return [fault('The user may not run EVAL. Its other rights are unknown.', grantOf(options, ['+eval']))]
    }
    throw thrown
  }
  if (!Array.isArray(reply)) {
    return [
      unknown(
        'Servers before Redis 7.0 do not tell which commands the user may run.',
        `Compare them: redis-cli -u <admin-url> ACL GETUSER ${userOf(options)}`,
      ),
    ]
  }
  const denied = new Set(reply.map((number) => Number(number) - 1))
  const missing = new Set(names.filter((_name, index) => denied.has(index)))
  const of = (all: string) => all.split(' ').filter((name) => missing.has(name))
  // A user without any command on keys lacks the pattern, and a command that is missing says nothing about other keys.
  const hasNoPattern = names.every((name) => missing.has(name) || isKeyless(name))
  const isRefused = (key: string) =>
    PROBES.some((name, probe) => {
      const index = names.length + places.indexOf(key) * PROBES.length + probe
      return denied.has(index) && (hasNoPattern || !missing.has(name))
    })
  const refused = (all: readonly string[]) => all.filter(isRefused)
  return [
    ...commandProblem(options, hasNoPattern ? [] : of(NEEDED), fault),
    ...commandProblem(options, hasNoPattern ? [] : of(OPTIONAL), warning),
    ...keyProblem(options, refused(neededKeys(keys, consumerGroup)), fault),
    ...keyProblem(options, refused(optionalKeys(keys, consumerGroup)), warning),
  ]
}

function commandOf(name: string, key: string): readonly string[] {
  const rest = ARGUMENTS[name] ?? (() => (name.includes('|') ? [key, 'doctor', '$'] : [key, '1', '1', '1']))
  return [...name.split('|'), ...rest(key)]
}

function commandProblem(
  options: ResolvedRedisOptions,
  missing: readonly string[],
  levelOf: typeof fault,
): readonly Problem[] {
  if (missing.length === 0) return []
  const text = `The user may not run ${missing.join(', ')} on the keys of the bus. ${effectOf(levelOf)}`
  const grants = missing.map((name) => `+${name.toLowerCase()}`)
  return [levelOf(text, grantOf(options, grants))]
}

function keyProblem(
  options: ResolvedRedisOptions,
  refused: readonly string[],
  levelOf: typeof fault,
): readonly Problem[] {
  if (refused.length === 0) return []
  const text = `The user may not read and write the keys ${refused.join(', ')}. ${effectOf(levelOf)}`
  return [levelOf(text, grantOf(options, [`'~${options.keys.stream.replace(/stream$/, '*')}'`]))]
}

function effectOf(levelOf: typeof fault): string {
  return levelOf === fault
    ? 'The bus does not work without them.'
    : 'The bus works less well without them; docs/redis.md says how.'
}

/** The command that grants rights to the user. */
export function grantOf(options: ResolvedRedisOptions, rights: readonly string[]): string {
  return ['redis-cli -u <admin-url> ACL SETUSER', userOf(options), ...rights].join(' ')
}

function userOf({ redisUrl, username }: ResolvedRedisOptions): string {
  return username ?? (decodeURIComponent(new URL(redisUrl).username) || 'default')
}
