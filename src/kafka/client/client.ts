import type { Socket } from 'node:net'
import { EventspineError, toError } from '../../errors.ts'
import { isInstalled, unavailable } from '../../kit/optional-package.ts'
import type { KafkaCompression } from '../wire/compression.ts'

/**
 * False if the npm package `@platformatic/kafka` is certainly not installed. In a bundle, this is known only when the
 * bus connects.
 */
export const KAFKA_AVAILABLE: boolean =
  isInstalled('@platformatic/kafka', import.meta, '/kafka/client/client.ts') ?? true

/** The client reads this file when it is loaded, by a path relative to its own file. */
const WASM =
  'In a bundle, copy node_modules/@platformatic/wasm-utils/dist/native.wasm to ../dist/native.wasm, as seen from the bundle.'

/** The npm package `@platformatic/kafka` is not installed, or cannot be loaded. */
export class KafkaNotAvailableError extends EventspineError {
  static override readonly name = 'KafkaNotAvailableError'
  readonly code = 'KAFKA_NOT_AVAILABLE'

  /** @param error - of loading the package; undefined if it is not installed. */
  constructor(error?: unknown) {
    const text = unavailable('KafkaEventBus', '@platformatic/kafka', '@platformatic/kafka@2', error)
    super(toError(error).message.includes('native.wasm') ? `${text} ${WASM}` : text, { cause: error })
  }
}

/** A connection to a broker. The client handles TLS, SASL and framing. */
export interface KafkaConnection {
  /** Undefined before `connect`. */
  readonly socket: Socket | undefined
  connect(host: string, port: number): Promise<void>
  close(): Promise<void>
  isConnected(): boolean
  on(event: 'error' | 'close', listener: (error: Error) => void): unknown
  send<T>(
    apiKey: number,
    apiVersion: number,
    createPayload: () => KafkaWriter,
    parse: (correlationId: number, apiKey: number, apiVersion: number, reader: KafkaReader) => T,
    hasRequestTags: boolean,
    hasResponseTags: boolean,
    callback: (error: Error | null, response: T) => void,
  ): void
}

/** Encodes a request. */
export interface KafkaWriter {
  readonly context: Record<string, unknown>
  append(bytes: Buffer): this
  appendInt16(value: number): this
  appendInt32(value: number): this
  appendString(value: string | null): this
  appendUnsignedVarInt(value: number): this
  appendTaggedFields(): this
  appendArray<T>(items: readonly T[], append: (writer: KafkaWriter, item: T) => void): this
}

/** Decodes a response. */
export interface KafkaReader {
  readonly buffer: { slice(start: number, end: number): Buffer }
  position: number
  skip(count: number): unknown
  readInt16(): number
  readInt32(): number
  readInt64(): bigint
  readUUID(): string
  readUnsignedVarInt(): number
  readTaggedFields(): void
  readArray<T>(read: (reader: KafkaReader) => T, isCompact?: boolean, discardTags?: boolean): T[]
  readNullableArray<T>(read: (reader: KafkaReader) => T): T[] | null
}

/** One version of a request of the protocol. */
export interface KafkaApi<Args extends readonly unknown[], Response> {
  readonly key: number
  readonly version: number
  async(connection: KafkaConnection, ...args: Args): Promise<Response>
}

export interface TopicPartitions {
  readonly topic: string
  readonly partitions: number[]
}

/** The subscription of a group member, as the classic protocol writes it. */
export interface MemberSubscription {
  readonly topics: string[]
  readonly ownedPartitions: TopicPartitions[]
  readonly generationId: number
  readonly userData: Buffer | null
}

/** The part of the client that this bus uses: its connections and its protocol. */
export interface KafkaLibrary {
  readonly Connection: new (clientId: string, options: object) => KafkaConnection
  readonly Writer: { create(): KafkaWriter }
  readonly compressionsAlgorithms: Readonly<Record<string, KafkaCompression>>
  crc32c(bytes: Buffer): number
  encodeConsumerProtocolSubscription(subscription: object): Buffer
  decodeConsumerProtocolSubscription(bytes: Buffer): MemberSubscription
  encodeConsumerProtocolAssignment(assignment: object): Buffer
  decodeConsumerProtocolAssignment(bytes: Buffer): {
    readonly assignedPartitions: TopicPartitions[]
    readonly userData: Buffer | null
  }
}

/** Loads the package. Called at the first connection. @throws KafkaNotAvailableError if it is not installed. */
export async function loadKafka(): Promise<KafkaLibrary & Readonly<Record<string, unknown>>> {
  // A bundler includes the package if it finds it. The handler lets it continue if not, for a program without Kafka.
  const library: unknown = await import('@platformatic/kafka').catch((error: unknown) => {
    throw new KafkaNotAvailableError(error)
  })
  // The interface declares the part of the package that is used.
  return library as KafkaLibrary & Readonly<Record<string, unknown>>
}
