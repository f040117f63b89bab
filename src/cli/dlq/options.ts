import { DEAD_LETTER_KEYS, deadLetterLine, text } from '../../filter-line/index.ts'
import type { OptionTable } from '../command.ts'
import { busOptions } from '../target.ts'

/** Options of all commands on dead letters. */
export const dlqOptions = {
  ...busOptions,
  events: {
    value: '<module>',
    about: 'module that exports event classes or a registry',
    read: text,
    isList: true,
  },
} as const satisfies OptionTable

export const filterOption = {
  filter: {
    value: '<line>',
    about: `only those that match, such as 'group:billing error:TypeError since:2h'; keys: ${DEAD_LETTER_KEYS}`,
    read: deadLetterLine,
  },
} as const satisfies OptionTable

/** Options of the commands that change something. */
export const changeOptions = {
  yes: { about: 'do not ask; needed if there is no terminal', short: 'y' },
  'dry-run': { about: 'only count' },
  by: { value: '<name>', about: 'who changes it, for the record; default the user and the host', read: text },
  reason: { value: '<text>', about: 'why, for the record', read: text },
} as const satisfies OptionTable
