import { delayMs, type OptionRule, objectWith, optional, resolveOptions } from '../kit/options.ts'
import type { ReplayOptions } from './replay.ts'
import type { RunUntilShutdownOptions } from './shutdown-signals.ts'

/** Options of `stop`. */
export interface StopOptions {
  /** Maximum duration of the call, in milliseconds. Default: `shutdownTimeoutMs`. */
  readonly timeoutMs?: number
}

/** Options of the methods that wait for a position. */
export interface WaitOptions {
  /** Ends the wait, which then rejects with the reason of the signal. Default: no limit. */
  readonly signal?: AbortSignal
}

/** Options of `rebuild`. */
export interface RebuildOptions {
  /**
   * A new projection. It is filled from the beginning while the current projection continues, and replaces the current
   * one when it has caught up. Its `reset` is called first, if it has one. A projection of `stores.projection` moves its
   * readers in the transaction that replaces the current one. Default: the current projection is reset and filled again.
   */
  readonly into?: object
}

const timeoutRule = { timeoutMs: optional(delayMs) }
/** A signal of another realm, such as jest's, is no instance of `AbortSignal`. */
const signalRule = objectWith('an AbortSignal', 'addEventListener', 'throwIfAborted')
const objectRule: OptionRule = {
  rule: 'a projection',
  isValid: (value) => typeof value === 'object' && value !== null,
}
const signalsRule: OptionRule = {
  rule: 'an array of names of signals',
  isValid: (value) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
}
const positionsRule: OptionRule = {
  rule: 'an array of positions',
  isValid: (value) => Array.isArray(value) && value.every((position) => Number.isSafeInteger(position)),
}

/** @returns undefined if no time is given. @throws ConfigError */
export function stopTimeout(call: string, options: StopOptions): number | undefined {
  return resolveOptions(call, options, { timeoutMs: undefined as number | undefined }, timeoutRule).timeoutMs
}

/** @throws ConfigError */
export function resolveShutdownOptions(options: RunUntilShutdownOptions) {
  const defaults: RunUntilShutdownOptions = { signals: undefined, timeoutMs: undefined }
  const rules = { ...timeoutRule, signals: optional(signalsRule) }
  return resolveOptions('runUntilShutdown', options, defaults, rules)
}

/** @throws ConfigError, so that a misspelt `into` does not reset the current projection. */
export function resolveRebuildOptions(options: RebuildOptions): object | undefined {
  const defaults = { into: undefined as object | undefined }
  return resolveOptions('rebuild', options, defaults, { into: optional(objectRule) }).into
}

/** @throws ConfigError */
export function resolveWaitOptions(call: string, options: WaitOptions): AbortSignal | undefined {
  const defaults = { signal: undefined as AbortSignal | undefined }
  return resolveOptions(call, options, defaults, { signal: optional(signalRule) }).signal
}

/** @throws ConfigError, so that a misspelt `positions` does not replay every parked event. */
export function resolveReplayOptions(options: ReplayOptions): readonly number[] | undefined {
  const defaults = { positions: undefined as readonly number[] | undefined }
  return resolveOptions('replayParked', options, defaults, { positions: optional(positionsRule) }).positions
}
