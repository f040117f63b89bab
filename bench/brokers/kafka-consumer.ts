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
  /** Maximum number of records that are unfinished, or finished and not committed: a crash would repeat these. */
  readonly maxUncommitted: number
}

/** Parses each record on arrival and commits in the background, one commit at a time. */
export async function consumeRaw(options: RawKafkaOptions): Promise<AsyncDisposable> {
  const { server, producer, topic, group, handlers, lanes: width, maxUncommitted } = options
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
  const intake = new Intake(stream, maxUncommitted)
  const commits = new Commits(consumer, topic, (count) => intake.left(count))
  const lanes = new Lanes(handlers, width)
  const deadLetter = coalesced(producer)
  stream.on('error', (error) => console.error(error))
  stream.on('data', (record) => {
    const event = JSON.parse(record.value) as Order
    intake.arrived()
    const finish = commits.open(record)
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

/** Pauses while too many records are not committed. */
class Intake {
  readonly #stream: PlainStream
  readonly #most: number
  #uncommitted = 0
  #isPaused = false

  constructor(stream: PlainStream, most: number) {
    this.#stream = stream
    this.#most = most
  }

  arrived(): void {
    this.#uncommitted += 1
    if (this.#uncommitted < this.#most || this.#isPaused) return
    this.#isPaused = true
    this.#stream.pause()
  }

  left(count: number): void {
    this.#uncommitted -= count
    if (!this.#isPaused || this.#uncommitted >= this.#most) return
    this.#isPaused = false
    this.#stream.resume()
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
  readonly #onCommitted: (count: number) => void
  /** Number of records that the next commit contains. */
  #passed = 0
  #committing: Promise<void> | undefined

  constructor(consumer: PlainConsumer, topic: string, onCommitted: (count: number) => void) {
    this.#consumer = consumer
    this.#topic = topic
    this.#onCommitted = onCommitted
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
    while (queue[0]?.isDone === true) {
      last = queue.shift()
      this.#passed += 1
    }
    if (last === undefined) return
    const offset = { topic: this.#topic, partition, offset: last.offset + 1n, leaderEpoch: 0 }
    this.#finished.set(partition, offset)
    this.#committing ??= this.#commit()
  }

  async #commit(): Promise<void> {
    while (this.#finished.size > 0) {
      const offsets = [...this.#finished.values()]
      this.#finished.clear()
      const passed = this.#passed
      this.#passed = 0
      // Commits fail while members join; uncommitted records would be delivered again.
      await this.#consumer.commit({ offsets }).catch(() => undefined)
      this.#onCommitted(passed)
    }
    this.#committing = undefined
  }
}
