import type { AsyncApiChannel } from '../../contract/index.ts'
import { text } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { UsageError } from '../exit-code.ts'

const BUSES = ['redis', 'rabbitmq', 'kafka'] as const

/** Reads `redis=orders`. @throws UsageError */
function channel(given: string): AsyncApiChannel {
  const [, name = '', address = ''] = /^(\w+)=(.+)$/.exec(given) ?? []
  const bus = BUSES.find((one) => one === name)
  if (bus !== undefined) return { bus, name: address }
  throw new UsageError(`must be ${BUSES.join('=…, ')}=…, got ${JSON.stringify(given)}`)
}

export const schema = defineCommand({
  name: 'schema',
  about:
    'Writes the events of a service to a contract file, or checks that this release can read what earlier releases wrote, and its consumers what it writes',
  usage: '--events <module> [options]',
  words: [0, 0],
  options: {
    events: {
      value: '<module>',
      about: 'module that exports event classes or a registry',
      read: text,
      isList: true,
    },
    file: { value: '<file>', about: 'the contract file', read: text, default: 'events.contract.json' },
    check: { about: 'compare with the file instead of writing it' },
    consumer: {
      value: '<file>',
      about: 'contract file of a service that reads the events, with --check',
      read: text,
      isList: true,
    },
    asyncapi: { value: '<file>', about: 'write an AsyncAPI 3.0 document, too', read: text },
    channel: {
      value: '<bus=name>',
      about: 'for --asyncapi: redis=<streamPrefix>, rabbitmq=<exchangeName> or kafka=<topicPrefix>',
      read: channel,
      isList: true,
    },
    title: { value: '<text>', about: 'for --asyncapi', read: text, default: 'Events' },
    'api-version': { value: '<text>', about: 'for --asyncapi', read: text, default: '1.0.0' },
    json: { about: 'print the result as JSON' },
  },
  examples: ['schema --events ./events.mjs', 'schema --events ./events.mjs --check'],
  run: async ({ options, terminal }) => {
    if (options.events.length === 0) {
      throw new UsageError('--events is needed: the module that exports the events.')
    }
    if (options.asyncapi !== undefined && options.channel.length === 0) {
      throw new UsageError('--asyncapi needs a --channel.')
    }
    if (options.consumer.length > 0 && !options.check) throw new UsageError('--consumer needs --check.')
    const { checkSchema, writeSchema } = await import('./run-schema.ts')
    const { events: modules, consumer: consumers, asyncapi: asyncApi, channel: channels, title } = options
    const settings = { modules, consumers, asyncApi, channels, title, apiVersion: options['api-version'] }
    const run = options.check ? checkSchema : writeSchema
    return run({ ...settings, file: options.file, isJson: options.json }, terminal)
  },
})
