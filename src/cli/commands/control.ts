import { duration, place, text } from '../../filter-line/index.ts'
import { type AnyCommand, defineCommand } from '../command.ts'
import { busOptions } from '../target.ts'

const by = {
  value: '<name>',
  about: 'who changes it, for the record; default the user and the host',
  read: text,
} as const
const reason = { value: '<text>', about: 'why, for the record', read: text } as const
const yes = { about: 'do not ask; needed if there is no terminal', short: 'y' } as const
const json = { about: 'print JSON' } as const

const pause = defineCommand({
  name: 'pause',
  about: 'Pauses a consumer group in all processes until it is resumed; --reason is needed',
  usage: '<group> [url] --reason <text> [options]',
  words: [1, 1],
  options: {
    ...busOptions,
    reason,
    wait: {
      value: '<duration>',
      about: 'wait at most this long, such as 5m, until no handler runs',
      read: duration,
    },
    by,
    yes,
    json,
  },
  examples: [
    `pause billing redis://localhost --reason 'wrong prices, OPS-12'`,
    `pause billing redis://localhost --reason 'migration, OPS-13' --wait 1m`,
  ],
  run: async ({ options, words, url, terminal }) => {
    const [{ busTarget }, { pauseGroup }] = await Promise.all([
      import('../target.ts'),
      import('./run-control.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    const { reason, by, wait: waitMs, yes: isYes, json: isJson } = options
    return pauseGroup(target, { name: words[0] ?? '', reason, by, waitMs, isYes, isJson, terminal })
  },
})

const resume = defineCommand({
  name: 'resume',
  about: 'Ends the pause of a consumer group',
  usage: '<group> [url] [options]',
  words: [1, 1],
  options: { ...busOptions, reason, by, yes, json },
  examples: ['resume billing redis://localhost'],
  run: async ({ options, words, url, terminal }) => {
    const [{ busTarget }, { resumeGroup }] = await Promise.all([
      import('../target.ts'),
      import('./run-control.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    const { reason, by, yes: isYes, json: isJson } = options
    return resumeGroup(target, { name: words[0] ?? '', reason, by, isYes, isJson, terminal })
  },
})

const seek = defineCommand({
  name: 'seek',
  about: 'Moves a consumer group without members to another place in the log',
  usage: '<group> [url] --to <place> [options]',
  words: [1, 1],
  options: {
    ...busOptions,
    to: {
      value: '<place>',
      about: 'first, last, a time, a duration before now such as 2h, or the position of an event',
      read: place,
    },
    'dry-run': { about: 'only count the events behind the place' },
    reason,
    by,
    yes,
    json,
  },
  examples: ['seek billing redis://localhost --to 2h --dry-run'],
  run: async ({ options, words, url, terminal }) => {
    const [{ busTarget }, { seekGroup }] = await Promise.all([
      import('../target.ts'),
      import('./run-control.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    const { to, reason, by, yes: isYes, json: isJson, 'dry-run': isDryRun } = options
    return seekGroup(target, { name: words[0] ?? '', to, isDryRun, reason, by, isYes, isJson, terminal })
  },
})

/** The commands that control the consumers of a group. */
export const control: readonly AnyCommand[] = [pause, resume, seek]
