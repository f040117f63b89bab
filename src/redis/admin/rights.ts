import { toError } from '../../errors.ts'
import { fault, type Problem, unknown, warning } from '../../transport/checkup.ts'
import type { RedisClient } from '../client/client.ts'
import type { ResolvedRedisOptions } from '../options.ts'

/** Without these, the bus does not publish, consume or store dead letters. */
const NEEDED =
  'XADD XREAD XREADGROUP XACK XCLAIM XPENDING XRANGE XDEL XLEN XINFO|STREAM XGROUP|CREATE TYPE EXISTS GET SET UNLINK PING CLIENT|ID'
/** Without these, the bus works, but less well. docs/redis.md says how. */
const OPTIONAL =
  'XREVRANGE XTRIM HGET HSET HSETNX HDEL HGETALL HRANDFIELD SADD SREM SMEMBERS SISMEMBER ZADD ZREM ZCARD ZSCORE ' +
  'ZRANGEBYSCORE RPUSH LPOS LLEN LINDEX LREM PEXPIRE TIME INFO CLIENT|INFO CLIENT|LIST CLIENT|UNBLOCK'

/** What follows the name of a command. Redis 8 refuses to check a command with a wrong number of arguments. */
const ARGUMENTS: Readonly<Record<string, (key: string) => readonly string[]>> = {
  XREAD: (key) => ['STREAMS', key, '$'],
  XREADGROUP: (key) => ['GROUP', 'doctor', 'doctor', 'STREAMS', key, '>'],
  XADD: (key) => [key, '*', 'name', 'value'],
  XCLAIM: (key) => [key, 'doctor', 'doctor', '0', '1-1'],
  'XINFO|STREAM': (key) => [key],
  TIME: () => [],
  PING: () => [],
  INFO: () => [],
  'CLIENT|ID': () => [],
  'CLIENT|INFO': () => [],
  'CLIENT|LIST': () => [],
  'CLIENT|UNBLOCK': () => ['0'],
  ...argumentsOf('TYPE GET HGETALL SMEMBERS ZCARD LLEN XLEN', []),
  ...argumentsOf('HGET SISMEMBER ZSCORE LINDEX PEXPIRE', ['1']),
  ...argumentsOf('HSETNX LREM', ['1', '1']),
}

function argumentsOf(names: string, rest: readonly string[]) {
  return Object.fromEntries(names.split(' ').map((name) => [name, (key: string) => [key, ...rest]]))
}

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

/** The commands that docs/redis.md names and the user may not run on the keys of the bus. */
export async function missingRights(
  client: RedisClient,
  { keys, consumerGroup }: ResolvedRedisOptions,
): Promise<readonly Problem[]> {
  const names = `${NEEDED} ${OPTIONAL}`.split(' ')
  const places = [keys.stream, keys.deadLetters, keys.retry(consumerGroup, '0-1')]
  const commands = names.flatMap((name) => places.map((key) => commandOf(name, key)))
  let reply: unknown
  try {
    reply = await client.sendCommand(['EVAL', SCRIPT, '0', JSON.stringify(commands)])
  } catch (thrown) {
    const { message } = toError(thrown)
    if (message.startsWith('NOPERM')) {
      return [
        fault(
          'The user may not run EVAL. Its other rights are unknown.',
          'Grant it: ACL SETUSER <user> +eval',
        ),
      ]
    }
    throw thrown
  }
  if (!Array.isArray(reply)) {
    return [
      unknown(
        'Servers before Redis 7.0 do not tell which commands the user may run.',
        'Compare them: ACL GETUSER <user>',
      ),
    ]
  }
  const denied = reply.map((number) => Number(number) - 1)
  const missing = new Set(denied.map((index) => names[Math.floor(index / places.length)] ?? ''))
  const of = (all: string) => all.split(' ').filter((name) => missing.has(name))
  return [
    ...problem(of(NEEDED), fault, 'The bus does not work without them.'),
    ...problem(of(OPTIONAL), warning, 'The bus works less well without them; docs/redis.md says how.'),
  ]
}

function commandOf(name: string, key: string): readonly string[] {
  const rest = ARGUMENTS[name] ?? (() => (name.includes('|') ? [key, 'doctor', '$'] : [key, '1', '1', '1']))
  return [...name.split('|'), ...rest(key)]
}

function problem(missing: readonly string[], levelOf: typeof fault, effect: string): readonly Problem[] {
  if (missing.length === 0) return []
  const grants = missing.map((name) => `+${name.toLowerCase()}`).join(' ')
  const text = `The user may not run ${missing.join(', ')} on the keys of the bus. ${effect}`
  return [levelOf(text, `ACL SETUSER <user> ${grants}, and check its key patterns`)]
}
