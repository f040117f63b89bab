import { rate, text } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { busOptions } from '../target.ts'

export const publish = defineCommand({
  name: 'publish',
  about: 'Publishes an event, or events in the wire format from a file',
  usage: '<type> [url] --aggregate-id <id> --data <json>, or [url] --from <file>',
  words: [0, 1],
  options: {
    ...busOptions,
    'aggregate-id': { value: '<id>', about: 'the aggregate of the event', read: text },
    'aggregate-type': { value: '<type>', about: 'needed if the class of the event is not known', read: text },
    data: { value: '<json>', about: 'the payload as JSON, or @file with it', read: text },
    from: {
      value: '<file>',
      about: 'file with one event in the wire format per line; - for standard input',
      read: text,
    },
    events: {
      value: '<module>',
      about: 'module that exports event classes or a registry, which then validate the payload',
      read: text,
      isList: true,
    },
    rate: { value: '<n/s>', about: 'with --from: at most this many events per second', read: rate },
    'dry-run': { about: 'validate, but publish nothing' },
    json: { about: 'print the ids of the published events as JSON' },
  },
  examples: [
    `publish OrderPlaced memory: --aggregate-type Order --aggregate-id o-1 --data '{"total":10}' --dry-run`,
    'publish memory: --from events.jsonl --dry-run',
  ],
  run: async ({ options, words, url, terminal }) => {
    const [{ busTarget }, { publishEvents }] = await Promise.all([
      import('../target.ts'),
      import('./run-publish.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    return publishEvents({
      target,
      type: words[0],
      aggregateId: options['aggregate-id'],
      aggregateType: options['aggregate-type'],
      data: options.data,
      from: options.from,
      modules: [...target.events, ...options.events],
      ratePerSecond: options.rate,
      isDryRun: options['dry-run'],
      isJson: options.json,
      terminal,
    })
  },
})
