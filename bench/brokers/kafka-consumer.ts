import type { OrderHandler } from '../broker-bench.ts'
import type { Order } from '../order.ts'
import {
  coalesced,
  type PlainConsumer,
  type PlainOffset,
  type PlainProducer,
  type PlainRecord,
  type PlainStream,
  plainConsumer,
} from './kafka-raw.ts'
import { Lanes } from './lanes.ts'

interface RawKafkaOptions {
  readonly server: string
  /** Publishes the dead letters. */
  readonly producer: PlainProducer
  readonly topic: string
  readonly group: string
  readonly handlers: readonly OrderHandler[]
  readonly lanes: number | undefined
}

const MAX_IN_FLIGHT = 1000

/** Parses each record on arrival and commits in the background, one commit at a time. */
export async function consumeRaw(options: RawKafkaOptions): Promise<AsyncDisposable> {
  const { server, producer, topic, group, handlers, lanes: width } = options
  const consumer = plainConsumer(server, group)
  const stream = await consumer.consume({
    topics: [topic],
    mode: 'committed',
    fallbackMode: 'earliest',
    autocommit: false,
    maxWaitTime: 500,
    // The bus's setting. With the client's default of 50 MB, a whole backlog would arrive before the measurement starts.
    maxBytes: 1_048_576,
    highWaterMark: 1024,
  })
  const commits = new Commits(consumer, topic)
  const lanes = new Lanes(handlers, width)
  const deadLetter = coalesced(producer)
  const intake = new Intake(stream)
  stream.on('error', (error) => console.error(error))
  stream.on('data', (record) => {
    const event = JSON.parse(record.value) as Order
    intake.arrived()
    const done = commits.open(record)
    const finish = () => {
      intake.left()
      done()
    }
    lanes.run(record.key, event, (error) => {
      if (error === undefined) finish()
      else void deadLetter(deadLetterOf(record)).then(finish)
    })
  })
  return {
    async [Symbol.asyncDispose]() {
      await commits.whenIdle()
      await stream.close()
      await consumer.close(true)
    },
  }
}

function deadLetterOf({ topic, key, value, headers }: PlainRecord) {
  return { topic: `${topic}.dlq`, key, value, headers: Object.fromEntries(headers) }
}

/** Pauses while too many records are unfinished. */
class Intake {
  readonly #stream: PlainStream
  #inFlight = 0

  constructor(stream: PlainStream) {
    this.#stream = stream
  }

  arrived(): void {
    this.#inFlight += 1
    if (this.#inFlight === MAX_IN_FLIGHT) this.#stream.pause()
  }

  left(): void {
    if (this.#inFlight === MAX_IN_FLIGHT) this.#stream.resume()
    this.#inFlight -= 1
  }
}

interface Unfinished {
  readonly offset: bigint
  isDone: boolean
}

/** Commits up to the first unfinished record. */
class Commits {
  readonly #consumer: PlainConsumer
  readonly #topic: string
  readonly #unfinished = new Map<number, Unfinished[]>()
  readonly #finished = new Map<number, PlainOffset>()
  #committing: Promise<void> | undefined

  constructor(consumer: PlainConsumer, topic: string) {
    this.#consumer = consumer
    this.#topic = topic
  }

  open({ partition, offset }: PlainRecord): () => void {
    const queue = this.#unfinished.get(partition) ?? []
    this.#unfinished.set(partition, queue)
    const own = { offset, isDone: false }
    queue.push(own)
    return () => {
      own.isDone = true
      if (queue[0] === own) this.#advance(partition, queue)
    }
  }

  async whenIdle(): Promise<void> {
    await this.#committing
  }

  #advance(partition: number, queue: Unfinished[]): void {
    let last: Unfinished | undefined
    while (queue[0]?.isDone === true) last = queue.shift()
    if (last === undefined) return
    const offset = { topic: this.#topic, partition, offset: last.offset + 1n, leaderEpoch: 0 }
    this.#finished.set(partition, offset)
    this.#committing ??= this.#commit()
  }

  async #commit(): Promise<void> {
    while (this.#finished.size > 0) {
      const offsets = [...this.#finished.values()]
      this.#finished.clear()
      // Commits fail while members join; uncommitted records would be delivered again.
      await this.#consumer.commit({ offsets }).catch(() => undefined)
    }
    this.#committing = undefined
  }
}
