import { randomUUID } from 'node:crypto'
import { type EventspineError, toError } from '../errors.ts'
import { NonRetryableError } from '../handling/errors.ts'
import { settledUntil } from '../kit/time.ts'
import { quote } from '../redaction.ts'
import { ConnectionError } from '../transport/errors.ts'
import type { RedisArgument } from './client/client.ts'
import { isForbidden } from './errors.ts'
import type { InboxKeys, InboxScripts, RefusedCommand } from './inbox-scripts.ts'

/** Durations in milliseconds. */
export interface InboxLimits {
  readonly retentionMs: number
  readonly lockMs: number
}

type Commands = readonly (readonly RedisArgument[])[]

/** One attempt of a handler. */
export class InboxAttempt {
  readonly #scripts: InboxScripts
  readonly #keys: InboxKeys
  readonly #limits: InboxLimits
  readonly #signal: AbortSignal
  readonly #token = randomUUID()

  constructor(scripts: InboxScripts, keys: InboxKeys, limits: InboxLimits, signal: AbortSignal) {
    this.#scripts = scripts
    this.#keys = keys
    this.#limits = limits
    this.#signal = signal
  }

  /**
   * Runs the handler if no other worker does.
   * @returns true if the event is handled, by this worker or another one; false if another worker handles it.
   * @throws what the handler throws, and the reason of the aborted signal.
   */
  async isOver(collect: () => Promise<Commands>): Promise<boolean> {
    try {
      const turn = await this.#reply(this.#scripts.acquire(this.#keys, this.#token, this.#limits.lockMs))
      return turn === 'acquired' ? await this.#run(collect) : turn === 'handled'
    } catch (thrown) {
      void this.#release()
      throw thrown
    }
  }

  async #run(collect: () => Promise<Commands>): Promise<boolean> {
    const renewal = setInterval(() => void this.#renew(), this.#limits.lockMs / 3).unref()
    try {
      return await this.#commit(await this.#unlessAborted(collect()))
    } finally {
      clearInterval(renewal)
    }
  }

  async #commit(commands: Commands): Promise<boolean> {
    const { retentionMs } = this.#limits
    const outcome = await this.#reply(this.#scripts.commit(this.#keys, this.#token, retentionMs, commands))
    if (typeof outcome === 'object') throw refusedError(outcome, commands)
    return outcome !== 'busy'
  }

  /** A lock that could not be renewed may be lost, which the commit detects. */
  async #renew(): Promise<void> {
    await this.#scripts.renew(this.#keys, this.#token, this.#limits.lockMs).catch(() => undefined)
  }

  /** A lock that could not be released expires. */
  async #release(): Promise<void> {
    await this.#scripts.release(this.#keys, this.#token).catch(() => undefined)
  }

  /** Waits for a reply. */
  #reply<T>(sent: Promise<T>): Promise<T> {
    return this.#unlessAborted(
      sent.catch((thrown: unknown) => {
        throw replyError(thrown)
      }),
    )
  }

  /** An aborted attempt has failed and is repeated, so its commands must not run. */
  async #unlessAborted<T>(promise: Promise<T>): Promise<T> {
    await settledUntil(promise, this.#signal)
    this.#signal.throwIfAborted()
    return promise
  }
}

function refusedError({ applied, index, reason }: RefusedCommand, commands: Commands): EventspineError {
  const command = `command ${index + 1} of ${commands.length} (${quote(String(commands[index]?.[0]))})`
  if (applied > 0) {
    return new NonRetryableError(
      `Redis refused ${command} of a handler of the inbox: ${quote(reason)}. The commands before it took effect, so the ` +
        'attempt is not repeated.',
    )
  }
  return new ConnectionError(
    'CONNECTION_FAILED',
    `Redis refused ${command} of a handler of the inbox: ${quote(reason)}. None of its commands took effect.`,
  )
}

function replyError(thrown: unknown): ConnectionError {
  const text = quote(toError(thrown).message)
  if (text.startsWith('CROSSSLOT')) {
    return new ConnectionError(
      'TOPOLOGY_CONFLICT',
      `Redis refused the keys of the inbox: ${text}. Put a hash tag into keyPrefix, so that all keys are in one slot.`,
    )
  }
  const isRefused = isForbidden(toError(thrown)) || /^(NOAUTH|WRONGPASS)/.test(text)
  const code = isRefused ? 'AUTHENTICATION_FAILED' : 'CONNECTION_LOST'
  return new ConnectionError(code, `Redis did not confirm a step of the inbox: ${text}.`)
}
