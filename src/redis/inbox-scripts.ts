import type { RedisArgument } from './client/client.ts'

/** The part of a node-redis client that the inbox uses. */
export interface RedisCommandClient {
  /** Sends a command. @returns the reply of the server. */
  sendCommand(command: RedisArgument[]): Promise<unknown>
}

/** The keys of one handler and one event. */
export interface InboxKeys {
  readonly note: string
  readonly lock: string
}

/** KEYS: note, lock; ARGV: token, lock expiry. Returns 0 if the note exists, 1 with the lock, 2 if another worker has it. */
const ACQUIRE = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 2`

/** KEYS: lock; ARGV: token, lock expiry. Renews a lock that this worker has. */
const RENEW = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`

/** KEYS: lock; ARGV: token. Releases a lock that this worker has. */
const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/**
 * KEYS: note, lock; ARGV: token, note expiry (empty for none), time, then for each command the number of its parts and the parts.
 * Runs the commands and stores the note. Returns 0, without effect, if the note exists; 2, without effect, if another
 * worker has the lock. A lock that expired is no obstacle if nobody has taken it. Returns the number of commands that
 * took effect and the text of the error if the server refuses one.
 *
 * Redis does not roll a script back. The script therefore asks the server first, if it has this function (Redis 7),
 * whether it knows all commands and the user may run them.
 */
const COMMIT = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then return 2 end
local commands, at = {}, 4
while at <= #ARGV do
  local size = tonumber(ARGV[at])
  commands[#commands + 1] = { unpack(ARGV, at + 1, at + size) }
  at = at + size + 1
end
if redis.acl_check_cmd then
  for index, command in ipairs(commands) do
    local isKnown, isAllowed = pcall(redis.acl_check_cmd, unpack(command))
    if not isKnown then return { 0, 'the server does not know the command', index } end
    if not isAllowed then return { 0, 'NOPERM this user may not run the command, or access one of its keys', index } end
  end
end
for index, command in ipairs(commands) do
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then return { index - 1, reply.err, index } end
end
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[3]) else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
redis.pcall('DEL', KEYS[2])
return 1`

/** Result of an attempt to start a handler. */
export type Turn = 'handled' | 'acquired' | 'busy'

/** Result of a commit. */
export type Commit = 'handled' | 'committed' | 'busy' | RefusedCommand

/** A command that the server refused. */
export interface RefusedCommand {
  /** Number of commands before it, which have taken effect. */
  readonly applied: number
  /** Index of the command, from 0. */
  readonly index: number
  readonly reason: string
}

/** The atomic steps of the inbox. */
export class InboxScripts {
  readonly #client: RedisCommandClient

  constructor(client: RedisCommandClient) {
    this.#client = client
  }

  async has({ note }: InboxKeys): Promise<boolean> {
    return Number(await this.#client.sendCommand(['EXISTS', note])) === 1
  }

  async acquire({ note, lock }: InboxKeys, token: string, lockMs: number): Promise<Turn> {
    const reply = Number(await this.#run(ACQUIRE, [note, lock], [token, String(lockMs)]))
    if (reply === 0) return 'handled'
    return reply === 1 ? 'acquired' : 'busy'
  }

  async renew({ lock }: InboxKeys, token: string, lockMs: number): Promise<void> {
    await this.#run(RENEW, [lock], [token, String(lockMs)])
  }

  async release({ lock }: InboxKeys, token: string): Promise<void> {
    await this.#run(RELEASE, [lock], [token])
  }

  async commit(
    { note, lock }: InboxKeys,
    token: string,
    retentionMs: number,
    commands: readonly (readonly RedisArgument[])[],
  ): Promise<Commit> {
    const parts = commands.flatMap((command) => [String(command.length), ...command])
    const expiry = retentionMs === Number.POSITIVE_INFINITY ? '' : String(retentionMs)
    const args = [token, expiry, new Date().toISOString(), ...parts]
    const reply = await this.#run(COMMIT, [note, lock], args)
    if (Array.isArray(reply)) {
      const [applied, reason, position]: unknown[] = reply
      return { applied: Number(applied), reason: String(reason), index: Number(position) - 1 }
    }
    if (Number(reply) === 0) return 'handled'
    return Number(reply) === 1 ? 'committed' : 'busy'
  }

  /** Scripts are sent whole, which does not depend on the script cache of the server. */
  #run(script: string, keys: readonly string[], args: readonly RedisArgument[]): Promise<unknown> {
    return this.#client.sendCommand(['EVAL', script, String(keys.length), ...keys, ...args])
  }
}
