import { integer, text, time } from '../../filter-line/index.ts'
import { type AnyCommand, defineCommand, type OptionTable } from '../command.ts'
import { busOptions, logOptions } from '../target.ts'

const SCANNED = '100000'

const common = {
  aggregate: { value: '<id>', about: 'its aggregate, which makes the search faster', read: text },
  'max-scanned': {
    value: '<n>',
    about: 'read at most this many events, for each search',
    read: integer(),
    default: SCANNED,
  },
  events: {
    value: '<module>',
    about: 'module that exports event classes or a registry',
    read: text,
    isList: true,
  },
  json: { about: 'print JSON' },
} as const satisfies OptionTable

const explain = defineCommand({
  name: 'explain',
  about: 'Explains where one event is: published when, how far each consumer group is, what it caused',
  usage: '<event-id> [url] [options]',
  words: [1, 1],
  options: { ...busOptions, ...common },
  examples: ['explain 3f2b9c1e-0d4a-4f6e-8b1c-2a7d5e9f0c3b redis://localhost'],
  run: async ({ options, words, url, terminal }) => {
    const { explainEvent } = await import('./run-explain.ts')
    const { aggregate: aggregateId, 'max-scanned': maxScanned } = options
    return explainEvent({ options, url, terminal }, words[0] ?? '', { aggregateId, maxScanned })
  },
})

const trace = defineCommand({
  name: 'trace',
  about: 'Shows the tree of the events with the correlation of one event; of a broker or a store',
  usage: '<event-id> [url] [options]',
  words: [1, 1],
  options: {
    ...logOptions,
    ...common,
    from: {
      value: '<time>',
      about: 'where the search for the other events starts; default one hour before the event',
      read: time,
    },
  },
  examples: ['trace 3f2b9c1e-0d4a-4f6e-8b1c-2a7d5e9f0c3b redis://localhost --from 1d'],
  run: async ({ options, words, url, terminal }) => {
    const { traceEvent } = await import('./run-trace.ts')
    const { aggregate: aggregateId, 'max-scanned': maxScanned, from } = options
    return traceEvent({ options, url, terminal }, words[0] ?? '', { aggregateId, maxScanned, from })
  },
})

/** The commands that explain what has become of an event. */
export const explaining: readonly AnyCommand[] = [explain, trace]
