import { duration, EVENT_KEYS, eventLine, integer, place, text } from '../../filter-line/index.ts'
import { type AnyCommand, defineCommand, type OptionTable } from '../command.ts'
import { logOptions } from '../target.ts'

const common = {
  ...logOptions,
  events: {
    value: '<module>',
    about: 'module that exports event classes or a registry',
    read: text,
    isList: true,
  },
  json: { about: 'print one JSON object per line' },
  jsonl: { about: 'the same as --json' },
} as const satisfies OptionTable

/** The output of these commands has one object per line anyhow. */
const withJson = <T extends { readonly json: boolean; readonly jsonl: boolean }>(options: T) => ({
  ...options,
  json: options.json || options.jsonl,
})

const filter = {
  value: '<line>',
  about: `only events that match, such as 'type:OrderPlaced,OrderPaid aggregate:o-1'; keys: ${EVENT_KEYS}`,
  read: eventLine,
} as const

const browse = defineCommand({
  name: 'events',
  about: 'Lists past events of a broker or a store; nothing on the broker changes',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...common,
    filter,
    from: {
      value: '<place>',
      about: 'a time, a duration before now such as 2h, first, last, or the position of an event',
      read: place,
    },
    reverse: { about: 'the newest first' },
    limit: { value: '<n>', about: 'at most this many', read: integer(), default: '100' },
    'max-scanned': { value: '<n>', about: 'read at most this many', read: integer() },
  },
  examples: [
    'events sqlite:shop.db --reverse --limit 10',
    `events redis://localhost --from 2h --filter 'type:OrderPlaced aggregate:o-1'`,
  ],
  run: async ({ options, url, terminal }) => {
    const { listEvents } = await import('./run-events.ts')
    const { filter = {}, from, limit, reverse } = options
    return listEvents(
      { options: withJson(options), url, terminal },
      {
        filter,
        from,
        limit,
        maxScanned: options['max-scanned'],
        direction: reverse ? 'backward' : 'forward',
      },
    )
  },
})

const show = defineCommand({
  name: 'event',
  about: 'Finds an event by its id, and shows its envelope, headers and payload',
  usage: '<event-id> [url] [options]',
  words: [1, 1],
  options: {
    ...common,
    aggregate: { value: '<id>', about: 'its aggregate, which makes the search faster', read: text },
    'max-scanned': { value: '<n>', about: 'read at most this many events', read: integer() },
  },
  examples: ['event 3f2b9c1e-0d4a-4f6e-8b1c-2a7d5e9f0c3b redis://localhost --aggregate o-1'],
  run: async ({ options, words, url, terminal }) => {
    const { showEvent } = await import('./run-events.ts')
    const search = { aggregateId: options.aggregate, maxScanned: options['max-scanned'] }
    return showEvent({ options: withJson(options), url, terminal }, words[0] ?? '', search)
  },
})

const tail = defineCommand({
  name: 'tail',
  about: 'Shows new events of a broker while they are published, until Ctrl-C',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...common,
    filter,
    limit: { value: '<n>', about: 'end after this many', read: integer() },
    for: { value: '<duration>', about: 'end after this time, such as 30s', read: duration },
  },
  examples: [
    'tail redis://localhost --for 1s',
    `tail redis://localhost --filter 'type:OrderPlaced' --for 1s --json`,
  ],
  run: async ({ options, url, terminal }) => {
    const { tailEvents } = await import('./run-events.ts')
    const { filter = {}, limit } = options
    return tailEvents({ options: withJson(options), url, terminal }, { filter, limit, forMs: options.for })
  },
})

/** The commands on single events. */
export const events: readonly AnyCommand[] = [browse, show, tail]
