import { describeValue } from '../errors.ts'
import type { RedisArgument } from './client/client.ts'

/** A command with its arguments. Numbers are sent as text. */
export type RedisCommand = readonly [name: string, ...args: (string | number | Buffer)[]]

/** Maximum number of parts of a command: the limit of Lua's `unpack` is 8,000. */
const MAX_PARTS = 7000

/** The commands of one run of a handler. Nothing is sent before the handler has returned. */
export class RedisEffects {
  #commands: (readonly RedisArgument[])[] | undefined = []

  /**
   * Adds a command that writes. The commands run in this order, in one atomic step, after the handler has returned. Their
   * replies are not available.
   *
   * @throws TypeError if the command is not a non-empty array of strings, numbers and buffers, or has more than 7,000
   * parts.
   * @throws Error after the handler has returned.
   */
  add(command: RedisCommand): void {
    if (this.#commands === undefined) {
      throw new Error(
        'A handler of the inbox added a Redis command after it had returned. Await all its work.',
      )
    }
    this.#commands.push(partsOf(command))
  }

  /** Ends the run. @returns the commands. @internal */
  end(): readonly (readonly RedisArgument[])[] {
    const commands = this.#commands ?? []
    this.#commands = undefined
    return commands
  }
}

function partsOf(command: RedisCommand): readonly RedisArgument[] {
  const parts: readonly unknown[] = Array.isArray(command) ? command : []
  if (parts.length === 0 || parts.length > MAX_PARTS) {
    throw new TypeError(`tx.add takes an array of 1 to ${MAX_PARTS} parts, got ${describeValue(command)}.`)
  }
  return parts.map((part) => {
    if (typeof part === 'string' || Buffer.isBuffer(part)) return part
    if (typeof part === 'number' && Number.isFinite(part)) return String(part)
    throw new TypeError(
      `A part of a Redis command is a string, a number or a buffer, got ${describeValue(part)}.`,
    )
  })
}
