import type { DeadLetterFilter } from '../../bus/index.ts'
import type { Terminal } from '../terminal.ts'
import type { ChangeSettings } from './run-change.ts'

/** The options of a command that changes many dead letters. */
interface ChangeFlags {
  readonly filter: DeadLetterFilter | undefined
  readonly all: boolean
  readonly limit: number | undefined
  readonly rate: number | undefined
  readonly 'dry-run': boolean
  readonly yes: boolean
  readonly by: string | undefined
  readonly reason: string | undefined
  readonly json: boolean
}

export function changeSettings(
  options: ChangeFlags,
  ids: readonly string[],
  terminal: Terminal,
): ChangeSettings {
  const { filter, limit, by, reason } = options
  return {
    ...{ ids, filter, limit, by, reason, terminal },
    isAll: options.all,
    ratePerSecond: options.rate === undefined ? undefined : Math.max(1, Math.round(options.rate)),
    isDryRun: options['dry-run'],
    isYes: options.yes,
    isJson: options.json,
  }
}

/** Where a purge writes its copies. */
export function backupFile(): string {
  return `dead-letters-${new Date().toISOString().replaceAll(':', '-')}.jsonl`
}
