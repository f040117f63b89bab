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
    'without %s says at the first connection how to install it',
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
