import { describe, expect, it } from 'vitest'
import { runBundle } from './bundle.ts'

const FORMATS = ['esm', 'cjs'] as const

const inMemory = `
import { defineEvent, InMemoryEventBus } from 'eventspine'
class Noted extends defineEvent<{ n: number }>()({ type: 'Noted', aggregateType: 'Note' }) {}
const bus = new InMemoryEventBus()
bus.subscribe(Noted, ({ n }) => console.log('handled', n))
void bus.publish([new Noted({ aggregateId: 'a', n: 1 })])
`

/** Connects where no broker listens, and prints the flag and the code of the error. */
const connecting = (name: string, flag: string, options: string) => `
import { ${name}, ${flag} } from 'eventspine'
const logger = { debug() {}, info() {}, warn() {}, error() {} }
const bus = new ${name}({ ...${options}, logger })
const failed = (error) => console.log(${flag}, error.code)
void bus.connect().catch(failed).then(() => bus.shutdown({ timeoutMs: 100 }))
`

const BUSES = [
  ['redis', 'RedisEventBus', 'REDIS_AVAILABLE', "{ redisUrl: 'redis://127.0.0.1:1' }", 'REDIS'],
  ['amqplib', 'RabbitMQEventBus', 'RABBITMQ_AVAILABLE', "{ rabbitmqUrl: 'amqp://127.0.0.1:1' }", 'RABBITMQ'],
  ['@platformatic/kafka', 'KafkaEventBus', 'KAFKA_AVAILABLE', "{ bootstrapServers: '127.0.0.1:1' }", 'KAFKA'],
] as const

// The Kafka client reads a file by a path relative to its own file, which only ES modules know.
const WITH_CLIENT = { esm: BUSES, cjs: BUSES.slice(0, 2) }
const WASM = { '../dist/native.wasm': 'node_modules/@platformatic/wasm-utils/dist/native.wasm' }

describe.each(FORMATS)('a bundle (%s)', (format) => {
  it('of a program with the in-memory bus needs no client of a broker', async () => {
    expect(await runBundle({ program: inMemory, format, installed: [] })).toBe('handled 1\n')
  })

  it.each(WITH_CLIENT[format])('contains %s and uses it', async (client, name, flag, options) => {
    const program = connecting(name, flag, options)

    expect(await runBundle({ program, format, installed: [client], copied: WASM })).toBe(
      'true CONNECTION_FAILED\n',
    )
  })

  it.each(BUSES)(
    'without %s reports at the first connection how to install it',
    async (_client, name, flag, options, system) => {
      const program = connecting(name, flag, options)

      expect(await runBundle({ program, format, installed: [] })).toBe(`true ${system}_NOT_AVAILABLE\n`)
    },
  )
})

it('a bundle with the Kafka client names the file that the client needs', async () => {
  const program = connecting('KafkaEventBus', 'KAFKA_AVAILABLE', "{ bootstrapServers: '127.0.0.1:1' }")

  const printed = await runBundle({
    program: program.replace('error.code', 'error.code, error.message'),
    format: 'esm',
    installed: ['@platformatic/kafka'],
  })

  expect(printed).toMatch(/^true KAFKA_NOT_AVAILABLE .*cannot load.*copy .*native\.wasm/)
})

/** Prints each exported error class whose instances have another name than the export. */
const errorNames = `
import * as main from 'eventspine'
import * as postgres from 'eventspine/postgres'
import * as sqlite from 'eventspine/sqlite'
const errors = Object.entries({ ...main, ...sqlite, ...postgres })
  .filter(([, value]) => value.prototype instanceof main.EventspineError)
const wrong = errors.filter(([name, type]) => Object.create(type.prototype).name !== name)
const timeout = new main.PublishTimeoutError(1, 'x')
class Own extends main.EventspineError { static name = 'Own'; code = 'OWN' }
console.log(errors.length > 50, wrong.map(([name]) => name), String(timeout), timeout.stack.split('\\n')[0])
console.log(new Own('x').name, class Timeout {}.name === 'Timeout')
`

it('a minified bundle keeps the names of all errors', async () => {
  const text = 'PublishTimeoutError: No confirmation within 1 ms (publishTimeoutMs): x.'

  expect(await runBundle({ program: errorNames, format: 'esm', installed: [], minify: true })).toBe(
    `true [] ${text} ${text}\nOwn false\n`,
  )
})

const projections = `
import { InMemoryCheckpointStore, InMemoryEventStore, SubscriptionManager } from 'eventspine'
class Totals { handle() {} }
const checkpoints = new InMemoryCheckpointStore()
const manager = new SubscriptionManager({ eventStore: new InMemoryEventStore(), checkpoints })
try {
  manager.subscribe(new Totals())
} catch (error) {
  console.log(error.name, error.message.slice(0, 27))
}
manager.subscribe(new Totals(), { name: 'totals' })
console.log(Object.keys(await manager.status()), Totals.name === 'Totals')
`

it('a minified bundle does not use class names as names of checkpoints', async () => {
  expect(await runBundle({ program: projections, format: 'esm', installed: [], minify: true })).toBe(
    "TypeError A subscription needs a name\n[ 'totals' ] false\n",
  )
})
