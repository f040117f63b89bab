import { createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { KafkaCluster } from '../../../src/kafka/client/cluster.ts'
import { KafkaTopicDirectory } from '../../../src/kafka/client/topics.ts'
import { resolveKafkaOptions } from '../../../src/kafka/options.ts'
import type { Intake } from '../../../src/transport/index.ts'

export const API = { fetch: 1, listOffsets: 2, metadata: 3, apiVersions: 18 } as const

/** Versions that the bus asks for, by API key. */
const VERSIONS: readonly (readonly [key: number, min: number, max: number])[] = [
  [0, 9, 11],
  [API.fetch, 13, 17],
  [API.listOffsets, 7, 9],
  [API.metadata, 10, 12],
  [8, 8, 9],
  [9, 8, 9],
  [10, 4, 6],
  [11, 8, 9],
  [12, 4, 4],
  [13, 4, 5],
  [14, 5, 5],
  [API.apiVersions, 0, 4],
  [19, 5, 7],
  [22, 4, 5],
]

/** The topic of the server: one partition. */
export const FAKE_TOPIC = { name: 'lies', id: '00000000-0000-0000-0000-000000000007' }

/** The partition of the topic. */
export const FAKE_PARTITION = {
  topic: FAKE_TOPIC.name,
  index: 0,
  topicId: FAKE_TOPIC.id,
  isReplays: false,
}

/** Room for `maxInFlightBytes` of the options of `connectedTo`. */
export const ROOMY_INTAKE: Intake = {
  room: 1000,
  roomBytes: 33_554_432,
  whenRoom: () => Promise.resolve(),
  deliver: () => undefined,
}

/** One partition in an answer to a fetch request. */
export interface FakeRange {
  readonly records: Buffer
  readonly highWatermark: bigint
  readonly errorCode?: number
  /** Where the log diverges from what the consumer has read. */
  readonly divergesAt?: bigint
}

/** Builds a message of the protocol, in the compact forms. */
class Message {
  readonly #parts: Buffer[] = []

  get bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  int16(value: number): this {
    const bytes = Buffer.alloc(2)
    bytes.writeInt16BE(value)
    return this.raw(bytes)
  }

  int32(value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(value)
    return this.raw(bytes)
  }

  int64(value: bigint): this {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64BE(value)
    return this.raw(bytes)
  }

  /** An unsigned number of variable length. */
  count(value: number): this {
    const bytes: number[] = []
    let rest = value
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest & 0x7f) | 0x80)
    return this.raw(Buffer.from([...bytes, rest]))
  }

  text(value: string): this {
    return this.count(Buffer.byteLength(value) + 1).raw(Buffer.from(value))
  }

  tags(): this {
    return this.count(0)
  }

  raw(bytes: Buffer): this {
    this.#parts.push(bytes)
    return this
  }
}

/** The bytes that the server sends instead of a response. */
export type Lie = (correlationId: number) => Buffer

/** A server that implements enough of Kafka's protocol to connect and to fetch, and that sends wrong responses on request. */
export class FakeKafka {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #lies = new Map<number, Lie>()
  readonly #requests = new Map<number, number>()
  /** The answer to the next fetch requests. */
  range: FakeRange = { records: Buffer.alloc(0), highWatermark: 0n }
  endOffset = 0n
  /** The last request for records. */
  lastFetch: Buffer = Buffer.alloc(0)

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(): Promise<FakeKafka> {
    const server = createServer((socket) => fake.#serve(socket))
    const fake = new FakeKafka(server)
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    onTestFinished(() => fake.#close())
    return fake
  }

  get port(): number {
    const address = this.#server.address()
    if (typeof address !== 'object' || address === null) throw new Error('the server does not listen')
    return address.port
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Requests of an API that arrived. */
  requests(api: number): number {
    return this.#requests.get(api) ?? 0
  }

  /** Sends these bytes instead of each answer to the API. */
  lieAbout(api: number, lie: Lie | undefined): void {
    if (lie === undefined) this.#lies.delete(api)
    else this.#lies.set(api, lie)
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    // The client cuts connections on purpose.
    socket.on('error', () => undefined)
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
        const end = 4 + rest.readInt32BE(0)
        const answer = this.#answer(rest.subarray(4, end))
        if (answer !== undefined) socket.write(answer)
        rest = rest.subarray(end)
      }
    })
  }

  #answer(request: Buffer): Buffer | undefined {
    const api = request.readInt16BE(0)
    const correlationId = request.readInt32BE(4)
    this.#requests.set(api, this.requests(api) + 1)
    if (api === API.fetch) this.lastFetch = Buffer.from(request)
    const lie = this.#lies.get(api)
    if (lie !== undefined) return lie(correlationId)
    const body = this.#body(api)
    return body === undefined ? undefined : frame(correlationId, body, api !== API.apiVersions)
  }

  #body(api: number): Buffer | undefined {
    if (api === API.apiVersions) {
      const message = new Message().int16(0).count(VERSIONS.length + 1)
      for (const [key, min, max] of VERSIONS) message.int16(key).int16(min).int16(max).tags()
      return message.int32(0).tags().bytes
    }
    if (api === API.metadata) return this.#metadata()
    if (api === API.fetch) return fetchBody(this.range)
    if (api !== API.listOffsets) return undefined
    const partition = new Message().int32(0).int16(0).int64(-1n).int64(this.endOffset).int32(0).tags()
    const topic = new Message().text(FAKE_TOPIC.name).count(2).raw(partition.bytes).tags()
    return new Message().int32(0).count(2).raw(topic.bytes).tags().bytes
  }

  #metadata(): Buffer {
    const broker = new Message().int32(1).text('127.0.0.1').int32(this.port).count(0).tags()
    const none = new Message().count(1).bytes
    const partition = new Message().int16(0).int32(0).int32(1).int32(0).raw(none).raw(none).raw(none).tags()
    const topic = new Message()
      .int16(0)
      .text(FAKE_TOPIC.name)
      .raw(Buffer.from(FAKE_TOPIC.id.replaceAll('-', ''), 'hex'))
      .raw(Buffer.alloc(1))
      .count(2)
      .raw(partition.bytes)
      .int32(0)
      .tags()
    return new Message()
      .int32(0)
      .count(2)
      .raw(broker.bytes)
      .count(0)
      .int32(1)
      .count(2)
      .raw(topic.bytes)
      .tags().bytes
  }

  async #close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => {
      this.#server.close(resolve)
    })
  }
}

/** An answer with its size and header. */
export function frame(correlationId: number, body: Buffer, hasTags = true): Buffer {
  const content = new Message().int32(correlationId)
  if (hasTags) content.tags()
  const { bytes } = content.raw(body)
  return new Message().int32(bytes.length).raw(bytes).bytes
}

/** The body of an answer to a fetch request. */
export function fetchBody({ records, highWatermark, errorCode = 0, divergesAt }: FakeRange): Buffer {
  const partition = new Message()
    .int32(0)
    .int16(errorCode)
    .int64(highWatermark)
    .int64(highWatermark)
    .int64(0n)
  partition
    .count(0)
    .int32(-1)
    .count(records.length + 1)
    .raw(records)
  if (divergesAt === undefined) partition.tags()
  else partition.count(1).count(0).count(13).int32(4).int64(divergesAt).tags()
  const topic = new Message().raw(Buffer.from(FAKE_TOPIC.id.replaceAll('-', ''), 'hex'))
  topic.count(2).raw(partition.bytes).tags()
  return new Message().int32(0).int16(0).int32(0).count(2).raw(topic.bytes).tags().bytes
}

function optionsFor(bootstrapServers: string) {
  return resolveKafkaOptions({
    bootstrapServers,
    requestTimeoutMs: 2000,
    maxResponseBytes: 2_097_152,
    maxInFlightBytes: ROOMY_INTAKE.roomBytes,
  })
}

/** A cluster that is connected to the server and knows its topic. */
export async function connectedTo(fake: FakeKafka) {
  const options = optionsFor(fake.address)
  const cluster = new KafkaCluster(options, {
    onLost: () => undefined,
    onRestored: () => undefined,
    onRefused: () => undefined,
    onCheck: () => Promise.resolve(),
  })
  onTestFinished(() => cluster.close(AbortSignal.timeout(100)))
  await cluster.connect()
  const topics = new KafkaTopicDirectory(cluster, options)
  await topics.find(FAKE_TOPIC.name)
  return { options, cluster, topics }
}
