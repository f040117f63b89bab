import { parseArgs } from 'node:util'
import type { AsyncApiChannel } from '../contract/index.ts'
import { toError } from '../errors.ts'

/** The command line is wrong. */
export class UsageError extends Error {}

export interface SchemaOptions {
  readonly modules: readonly string[]
  readonly file: string
  readonly isCheck: boolean
  readonly consumers: readonly string[]
  readonly asyncApi: string | undefined
  readonly channels: readonly AsyncApiChannel[]
  readonly title: string
  readonly apiVersion: string
  readonly isJson: boolean
}

const BUSES = ['redis', 'rabbitmq', 'kafka'] as const

/** @throws UsageError */
export function readSchemaOptions(args: readonly string[]): SchemaOptions {
  const { values } = parsed(args)
  const { events: modules, consumer: consumers, asyncapi: asyncApi } = values
  if (modules.length === 0) throw new UsageError('--events is needed: the module that exports the events.')
  const channels = values.channel.map(channelOf)
  if (asyncApi !== undefined && channels.length === 0) throw new UsageError('--asyncapi needs a --channel.')
  if (consumers.length > 0 && !values.check) throw new UsageError('--consumer needs --check.')
  return {
    ...{ modules, consumers, asyncApi, channels },
    file: values.file,
    isCheck: values.check,
    title: values.title,
    apiVersion: values['api-version'],
    isJson: values.json,
  }
}

function parsed(args: readonly string[]) {
  const list = { type: 'string', multiple: true, default: [] as string[] } as const
  try {
    return parseArgs({
      args: [...args],
      options: {
        events: list,
        consumer: list,
        channel: list,
        file: { type: 'string', default: 'events.contract.json' },
        check: { type: 'boolean', default: false },
        asyncapi: { type: 'string' },
        title: { type: 'string', default: 'Events' },
        'api-version': { type: 'string', default: '1.0.0' },
        json: { type: 'boolean', default: false },
      },
    })
  } catch (thrown) {
    throw new UsageError(toError(thrown).message)
  }
}

function channelOf(text: string): AsyncApiChannel {
  const [, given, name = ''] = /^(\w+)=(.+)$/.exec(text) ?? []
  const bus = BUSES.find((one) => one === given)
  if (bus === undefined) {
    throw new UsageError(`--channel must be ${BUSES.join('=…, ')}=…, got ${JSON.stringify(text)}.`)
  }
  return { bus, name }
}
