import { createClient } from 'redis'
import type { DuplicableRedisClient } from '../../src/redis/index.ts'

/**
 * A fault in the scripts of an ordered group. `'leaseWithoutFence'`: a consumer reads, settles and keeps partitions although
 * its lease is gone. `'takeoverFromNew'`: the new owner of a partition starts with the new entries. `'keepsPartitions'`: the
 * first consumer keeps all partitions when others start.
 */
export type Tampering = 'leaseWithoutFence' | 'takeoverFromNew' | 'keepsPartitions'

/** What is replaced in the scripts. A text that is not found would make the fault harmless, so the run fails then. */
const REPLACED: Readonly<
  Record<Tampering, readonly (readonly [marker: string, from: string, to: string])[]>
> = {
  leaseWithoutFence: [
    ['local leases = table.remove', 'then return -1 end', 'then leases = nil end'],
    ["redis.call('HSETNX'", "redis.call('HSETNX'", "redis.call('HSET'"],
  ],
  keepsPartitions: [['local share =', 'return { math.max(0, has - share)', 'return { 0']],
  takeoverFromNew: [
    ['local claimed = {}', 'local claimed = {}', 'if true then return {} end\nlocal claimed = {}'],
  ],
}

export function isTampering(breakage: string): breakage is Tampering {
  return Object.hasOwn(REPLACED, breakage)
}

interface Sender {
  sendCommand(args: (string | Buffer)[], options?: object): Promise<unknown>
}

/** A client that the bus duplicates, and whose scripts have the fault. */
export function tamperedClient(url: string, tampering: Tampering): DuplicableRedisClient {
  const client = createClient({ url, RESP: 2 })
  return {
    options: client.options,
    duplicate: (overrides?: object) => {
      const duplicate = client.duplicate(overrides)
      const sender: Sender = duplicate
      const send = sender.sendCommand.bind(duplicate)
      sender.sendCommand = (args, options) => send(tampered(args, tampering), options)
      return duplicate
    },
  }
}

function tampered(args: (string | Buffer)[], tampering: Tampering): (string | Buffer)[] {
  const [name, script, ...rest] = args
  // The server watches nothing, so that the next read does not depend on the leases.
  if (name === 'WATCH' && tampering === 'leaseWithoutFence') return ['EXISTS', ...args.slice(1)]
  if (name !== 'EVAL' || typeof script !== 'string') return args
  const text = REPLACED[tampering].reduce((changed, [marker, from, to]) => {
    if (!script.includes(marker)) return changed
    if (!changed.includes(from)) throw new Error(`the script does not contain ${from}`)
    return changed.replace(from, to)
  }, script)
  return [name, text, ...rest]
}
