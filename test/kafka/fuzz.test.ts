import fc from 'fast-check'
import { inject, it } from 'vitest'
import { digestOf, fuzzBus, fuzzRun } from '../support/fuzz-bus.ts'
import { hostileBody, hostilePairs, hostileValue } from '../wire/hostile-messages.ts'
import { capturedKafka } from './captured-kafka.ts'
import { type PlainRecord, readLog } from './log.ts'
import { administer, type PlainMessage, PlainWriter } from './plain-kafka.ts'
import { createBus, freshName } from './scene.ts'

const PARTITIONS = 6
const server = inject('kafkaBootstrapServers')

const captured = capturedKafka('publish', 'retry', 'dlq', 'replay')
const headersOf = ({ headers }: (typeof captured)[number]) =>
  headers.map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)

const messages: fc.Arbitrary<Omit<PlainMessage, 'topic'>> = fc
  .tuple(
    fc.constantFrom(...captured),
    fc.option(hostilePairs(captured.map(headersOf)), { freq: 3 }),
    fc.option(fc.option(hostileBody, { freq: 9 }), { freq: 1, nil: undefined }),
    fc.oneof(fc.constant(undefined), fc.option(hostileValue)),
    fc.nat({ max: PARTITIONS - 1 }),
  )
  .map(([original, headers, value, key, partition]) => ({
    partition,
    key: key === undefined ? Buffer.from(original.key) : (key ?? undefined),
    value: value === undefined ? original.value : value,
    headers: new Map<Buffer, Buffer | null>(headers ?? headersOf(original)),
  }))

/** The parts that a dead letter must keep. The headers that dead letters and replays add are not compared. */
function digest({ key, value, headers }: Pick<PlainRecord, 'key' | 'value' | 'headers'>): string {
  const kept = [...headers].filter(([name]) => !/^(dlq_|replay_handlers$)/.test(name.toString()))
  // The plain client uses one buffer for all empty names, so it returns only the last of several.
  const asRead = new Map(kept.map(([name, text]) => [name.length === 0 ? '' : name, text] as const))
  return digestOf(key, value, ...[...asRead].flat())
}

it(
  `handles, skips or dead-letters malformed records, and neighbors arrive unchanged: ${fuzzRun.title}`,
  async () => {
    const topicPrefix = freshName()
    const topic = `${topicPrefix}.stream`
    await administer(server, (admin) =>
      admin.createTopics({ topics: [topic], partitions: PARTITIONS, replicas: 1, configs: [] }),
    )
    const writer = new PlainWriter(server)
    const digests: string[] = []
    let forgedCount = 0
    try {
      await fuzzBus({
        messages,
        createBus: ({ consumerGroup = 'default', ...options }) =>
          createBus({ topicPrefix, consumerGroup: `${topicPrefix}-${consumerGroup}`, ...options }),
        async send(batch) {
          for (const { key, value, headers = new Map() } of batch)
            digests.push(digest({ key, value, headers }))
          await writer.send(batch.map((message) => ({ ...message, topic })))
        },
        forge: ({ key, headers, body }, forged) => ({
          partition: forgedCount++ % PARTITIONS,
          key: Buffer.from(key),
          value: Buffer.from(body),
          headers: new Map(
            [...Object.entries(headers), ...forged].map(([name, value]) => [
              Buffer.from(name),
              Buffer.from(value),
            ]),
          ),
        }),
        bodyOf: ({ value }) => value ?? Buffer.alloc(0),
        digests: () => Promise.resolve(digests),
        async deadLetters(group, count) {
          const headerOf = ({ headers }: PlainRecord, wanted: string) =>
            [...headers].findLast(([name]) => String(name) === wanted)?.[1]?.toString()
          const isOfGroup = (letter: PlainRecord) =>
            headerOf(letter, 'dlq_consumer_group') === `${topicPrefix}-${group}`
          const letters = await readLog(server, `${topic}.dlq`, count, isOfGroup)
          return letters.map((letter) => ({
            digest: digest(letter),
            reason: headerOf(letter, 'dlq_reason'),
            errorMessage: headerOf(letter, 'dlq_error_message'),
          }))
        },
      })
    } finally {
      await writer.close()
    }
  },
  fuzzRun.timeoutMs,
)
