import { randomUUID } from 'node:crypto'
import { ConfigError } from '../errors.ts'
import type { BrokerOptions, ResolvedBrokerOptions } from './broker-options.ts'

/**
 * Completes the options of a bus that broadcasts. It is a group of its own, which lasts as long as the process: nobody could
 * replay its dead letters, and no other member could take its events over.
 *
 * @param owner - the class of the bus, for error messages.
 * @throws ConfigError if the given options contradict `broadcast`.
 */
export function withBroadcast<Options extends ResolvedBrokerOptions>(
  owner: string,
  given: BrokerOptions | null | undefined,
  options: Options,
): Options {
  if (!options.broadcast) return options
  if (given?.enableDlq === true) {
    throw new ConfigError(owner, [
      'broadcast needs enableDlq false: the instance that a dead letter is for ends with its process',
    ])
  }
  return {
    ...options,
    consumerGroup: `${options.consumerGroup}.${randomUUID()}`,
    enableDlq: false,
    handoverTimeoutMs: 0,
  }
}

/** The given name of the group of a bus that broadcasts. */
export function nameWithoutInstance(consumerGroup: string): string {
  return consumerGroup.replace(/\.[0-9a-f-]{36}$/, '')
}

/** Why a handler of a bus that broadcasts cannot wait on the broker. */
export const BROADCAST_KEEPS_NOTHING =
  'a bus with broadcast keeps no events on the broker, so that nothing remains after its process has ended'
