import { integer, text } from '../../filter-line/index.ts'
import { type AnyCommand, defineCommand } from '../command.ts'
import { listFormatOf, listFormatOptions } from '../list-format.ts'
import { busOptions } from '../target.ts'

const json = { about: 'print JSON' } as const

const list = defineCommand({
  name: 'groups',
  about: 'Lists all consumer groups with lag, members, retries and dead letters, or the partitions of one',
  usage: '[group] [url] [options]',
  words: [0, 1],
  options: {
    ...busOptions,
    'max-lag': { value: '<n>', about: 'exit code 5 if a group has a larger lag', read: integer(0) },
    'max-dead-letters': {
      value: '<n>',
      about: 'exit code 5 if a group has more dead letters',
      read: integer(0),
    },
    ...listFormatOptions,
  },
  examples: ['groups redis://localhost', 'groups redis://localhost --max-lag 1000 --json'],
  run: async ({ options, words, url, terminal }) => {
    const [{ busTarget }, { listGroups }] = await Promise.all([
      import('../target.ts'),
      import('./run-groups.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    const limits = { maxLag: options['max-lag'], maxDeadLetters: options['max-dead-letters'] }
    return listGroups(target, { name: words[0], limits, format: listFormatOf(options), terminal })
  },
})

const remove = defineCommand({
  name: 'groups delete',
  about: 'Deletes a consumer group without members, with its unhandled events; its dead letters stay',
  usage: '<group> [url] [options]',
  words: [1, 1],
  options: {
    ...busOptions,
    by: { value: '<name>', about: 'who deletes it, for the log', read: text },
    reason: { value: '<text>', about: 'why, for the log', read: text },
    yes: { about: 'do not ask; needed if there is no terminal', short: 'y' },
    json,
  },
  examples: ['groups delete reports redis://localhost --yes'],
  run: async ({ options, words, url, terminal }) => {
    const [{ busTarget }, { deleteGroup }] = await Promise.all([
      import('../target.ts'),
      import('./run-groups.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    const { by, reason, yes: isYes, json: isJson } = options
    return deleteGroup(target, { name: words[0] ?? '', by, reason, isYes, isJson, terminal })
  },
})

/** The commands on consumer groups. */
export const groups: readonly AnyCommand[] = [list, remove]
