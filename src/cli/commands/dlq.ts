import { integer, oneOf, rate, text } from '../../filter-line/index.ts'
import { type AnyCommand, defineCommand } from '../command.ts'
import { changeOptions, dlqOptions, filterOption } from '../dlq/options.ts'
import { listFormatOf, listFormatOptions } from '../list-format.ts'

const json = { about: 'print JSON' } as const
const limit = { value: '<n>', about: 'at most this many', read: integer() } as const
const all = { about: 'all dead letters' } as const

const order = {
  value: '<order>',
  about: 'newest or oldest first',
  read: oneOf('newest', 'oldest'),
  default: 'newest',
} as const
const by = {
  value: '<what>',
  about: 'error, eventType, handler, group or reason',
  read: oneOf('error', 'eventType', 'handler', 'group', 'reason'),
  default: 'error',
} as const

/** Options of the commands that change many. */
const bulkOptions = {
  ...dlqOptions,
  ...filterOption,
  all,
  limit,
  rate: { value: '<n/s>', about: 'at most this many per second', read: rate },
  ...changeOptions,
  json,
} as const

const list = defineCommand({
  name: 'dlq list',
  about: 'Lists dead letters, the newest first',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...dlqOptions,
    ...filterOption,
    order,
    limit: { ...limit, default: '50' },
    cursor: { value: '<cursor>', about: 'the cursor of the page before', read: text },
    ...listFormatOptions,
  },
  examples: [
    `dlq list redis://localhost --filter 'aggregate:Order-7'`,
    `dlq list redis://localhost --filter 'group:billing since:2h'`,
  ],
  run: async ({ options, url, terminal }) => {
    const { withDlq, listLetters } = await import('../dlq/index.ts')
    const { order, limit, cursor, filter = {} } = options
    const settings = { ...{ filter, order, limit, cursor }, format: listFormatOf(options), terminal }
    return withDlq({ options, url, terminal }, (open) => listLetters(open, settings))
  },
})

const show = defineCommand({
  name: 'dlq show',
  about: 'Shows one dead letter with its error, headers and body',
  usage: '<dead-letter-id> [url] [options]',
  words: [1, 1],
  options: { ...dlqOptions, json },
  examples: ['dlq show 1700000000000-0 redis://localhost'],
  run: async ({ options, words, url, terminal }) => {
    const { withDlq, showLetter } = await import('../dlq/index.ts')
    const settings = { id: words[0] ?? '', isJson: options.json, terminal }
    return withDlq({ options, url, terminal }, (open) => showLetter(open, settings))
  },
})

const summary = defineCommand({
  name: 'dlq summary',
  about: 'Counts dead letters by error, type, handler, group or reason',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...dlqOptions,
    ...filterOption,
    by,
    'max-scanned': { value: '<n>', about: 'read at most this many', read: integer() },
    ...listFormatOptions,
  },
  examples: ['dlq summary redis://localhost --by error'],
  run: async ({ options, url, terminal }) => {
    const { withDlq, summarize } = await import('../dlq/index.ts')
    const { by, filter = {}, 'max-scanned': maxScanned = Number.POSITIVE_INFINITY } = options
    const settings = { by, filter, maxScanned, format: listFormatOf(options), terminal }
    return withDlq({ options, url, terminal }, (open) => summarize(open, settings))
  },
})

const replay = defineCommand({
  name: 'dlq replay',
  about: 'Gives dead letters back to the group and the handlers that failed',
  usage: '<dead-letter-id…> | --filter <line> | --all [url] [options]',
  words: [0, 1000],
  options: {
    ...bulkOptions,
    'batch-size': { value: '<n>', about: 'replays at once, which a crash can duplicate', read: integer() },
    group: { value: '<group>', about: 'replay to this group instead', read: text },
    handler: { value: '<name>', about: 'replay to this handler instead', read: text, isList: true },
  },
  examples: [
    'dlq replay 1700000000000-0 redis://localhost --yes',
    `dlq replay redis://localhost --filter 'group:billing error:TypeError' --rate 50/s --dry-run`,
  ],
  run: async ({ options, words, url, terminal }) => {
    const { withDlq, replayLetters, changeSettings } = await import('../dlq/index.ts')
    const settings = {
      ...changeSettings(options, words, terminal),
      ...{ group: options.group, handlers: options.handler, batchSize: options['batch-size'] },
    }
    return withDlq({ options, url, terminal }, (open) => replayLetters(open, settings))
  },
})

const edit = defineCommand({
  name: 'dlq edit',
  about: 'Replays an edited copy of a dead letter as a new event',
  usage: '<dead-letter-id> [url] --events <module> [--patch <json>] [options]',
  words: [1, 1],
  options: {
    ...dlqOptions,
    patch: {
      value: '<json>',
      about: 'new values of fields, or @file with them; null removes a field; without it, EDITOR opens',
      read: text,
    },
    ...changeOptions,
    json,
  },
  examples: [
    `dlq edit 1700000000000-0 redis://localhost --events events.mjs --patch '{"total":42}' --dry-run`,
  ],
  run: async ({ options, words, url, terminal }) => {
    const { withDlq, editLetter } = await import('../dlq/index.ts')
    const { patch, by, reason } = options
    const flags = { isDryRun: options['dry-run'], isYes: options.yes, isJson: options.json }
    const settings = { id: words[0] ?? '', patch, by, reason, ...flags, terminal }
    return withDlq({ options, url, terminal }, (open) => editLetter(open, settings))
  },
})

const purge = defineCommand({
  name: 'dlq purge',
  about: 'Removes dead letters, after it has written a copy to a file',
  usage: '<dead-letter-id…> | --filter <line> | --all [url] [options]',
  words: [0, 1000],
  options: {
    ...bulkOptions,
    backup: { value: '<file>', about: 'file for the copies; default dead-letters-<time>.jsonl', read: text },
    'no-backup': { about: 'write no copy' },
  },
  examples: [`dlq purge redis://localhost --filter 'before:30d' --dry-run`],
  run: async ({ options, words, url, terminal }) => {
    const { withDlq, removeLetters, changeSettings, backupFile } = await import('../dlq/index.ts')
    const file = options['no-backup'] ? undefined : (options.backup ?? backupFile())
    const settings = changeSettings(options, words, terminal)
    return withDlq({ options, url, terminal }, (open) => removeLetters(open, settings, file))
  },
})

const archive = defineCommand({
  name: 'dlq archive',
  about: 'Moves dead letters to a file',
  usage: '<file> --filter <line> | --all [url] [options]',
  words: [1, 1],
  options: bulkOptions,
  examples: [`dlq archive old.jsonl redis://localhost --filter 'before:30d' --dry-run`],
  run: async ({ options, words, url, terminal }) => {
    const { withDlq, removeLetters, changeSettings } = await import('../dlq/index.ts')
    const settings = changeSettings(options, [], terminal)
    return withDlq({ options, url, terminal }, (open) => removeLetters(open, settings, words[0]))
  },
})

const exported = defineCommand({
  name: 'dlq export',
  about: 'Prints dead letters as JSON lines, which dlq import reads',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...dlqOptions,
    ...filterOption,
    out: { value: '<file>', about: 'a new file instead of standard output', read: text },
  },
  examples: [`dlq export redis://localhost --filter 'group:billing'`],
  run: async ({ options, url, terminal }) => {
    const { withDlq, exportLetters } = await import('../dlq/index.ts')
    const settings = { filter: options.filter ?? {}, file: options.out, terminal }
    return withDlq({ options, url, terminal }, (open) => exportLetters(open, settings))
  },
})

const imported = defineCommand({
  name: 'dlq import',
  about: 'Stores exported dead letters on a broker, with new ids',
  usage: '<file> [url] [options]',
  words: [1, 1],
  options: { ...dlqOptions, by: changeOptions.by, reason: changeOptions.reason },
  examples: ['dlq import letters.jsonl redis://localhost'],
  run: async ({ options, words, url, terminal }) => {
    const { withDlq, importLetters } = await import('../dlq/index.ts')
    const settings = { file: words[0] ?? '', by: options.by, reason: options.reason, terminal }
    return withDlq({ options, url, terminal }, (open) => importLetters(open, settings))
  },
})

export const dlq: readonly AnyCommand[] = [
  list,
  show,
  summary,
  replay,
  edit,
  purge,
  archive,
  exported,
  imported,
]
