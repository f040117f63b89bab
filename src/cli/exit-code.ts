export { UsageError } from '../filter-line/index.ts'

/** What a command ends with, so that scripts can react. Documented in docs/command-line.md. */
export const EXIT = {
  done: 0,
  /** Something failed, wholly or in part. */
  failed: 1,
  /** The command line or the configuration is wrong; nothing was done. */
  usage: 2,
  /** The broker or the store cannot be reached, or refuses the user. */
  unreachable: 3,
  notFound: 4,
  /** A check found something. */
  checkFailed: 5,
  /** Ctrl-C ended a change; the output says what was done. */
  interrupted: 130,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** What was asked for does not exist. */
export class NotFoundError extends Error {}
