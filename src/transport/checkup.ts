import type { GroupInfo } from './admin.ts'

/** What a check has found. */
export interface Problem {
  /**
   * `fault`: the bus does not work, or loses events. `warning`: it needs the attention of an operator. `unknown`: the check
   * could not be made, for example because the user lacks a right that only the check needs. `ok`: a fact.
   */
  readonly level: 'ok' | 'warning' | 'fault' | 'unknown'
  /** What is the case, as one sentence. */
  readonly text: string
  /** What fixes it; undefined if nothing has to be fixed. */
  readonly remedy: string | undefined
}

/** One check of a broker. It changes nothing there. */
export interface Check<C> {
  /** Identifies the check for programs, such as `redis-eviction`. */
  readonly name: string
  /** @returns nothing if all is well. */
  readonly run: (context: C) => Promise<readonly Problem[]>
}

/** The checks of one broker, over a connection of their own. */
export interface TransportCheckup {
  /** Connects, without creating anything. @returns what the server is, such as `Redis 7.4`. @throws ConnectionError */
  open(): Promise<string>
  readonly checks: readonly Check<void>[]
  /** As `TransportAdmin.groups`. */
  groups(): Promise<readonly GroupInfo[]>
  close(): Promise<void>
}

export const fault = (text: string, remedy: string): Problem => ({ level: 'fault', text, remedy })
export const warning = (text: string, remedy: string): Problem => ({ level: 'warning', text, remedy })
export const unknown = (text: string, remedy?: string): Problem => ({ level: 'unknown', text, remedy })

/** The checks of a table with the context that they get once there is a connection. */
export function checksOf<C>(table: readonly Check<C>[], context: () => C): readonly Check<void>[] {
  return table.map(({ name, run }) => ({ name, run: () => run(context()) }))
}
