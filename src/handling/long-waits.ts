import { delayMs, oneOf, resolveOptions } from '../kit/options.ts'

/** Which delays before a retry are long waits, and what happens to the order of the aggregate meanwhile. */
export interface LongWaitOptions {
  /** The shortest delay that is a long wait, in milliseconds, after jitter. Default 30,000. */
  readonly fromMs?: number
  /**
   * `'keep'`: later events of the aggregate wait behind the event for this handler; on RabbitMQ with
   * `ordering: 'aggregate'`. `'giveUp'`: the handler gets later events of the aggregate during the wait, so it gets the
   * waiting event after them.
   */
  readonly order: 'keep' | 'giveUp'
}

export const longWaitDefaults = { fromMs: 30_000, order: undefined as 'keep' | 'giveUp' | undefined }

export const longWaitRules = { fromMs: delayMs, order: oneOf('keep', 'giveUp') }

/** @throws ConfigError */
export function longWaitOptions(subject: string, given: LongWaitOptions): Required<LongWaitOptions> {
  const { fromMs, order = 'giveUp' } = resolveOptions(
    `${subject} longWaits`,
    given,
    longWaitDefaults,
    longWaitRules,
  )
  return { fromMs, order }
}
