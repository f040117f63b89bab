import type { Socket } from 'node:net'
import { EventspineError } from '../../errors.ts'
import type { KafkaCompression } from '../wire/compression.ts'

/** The npm package of the Kafka client. Not a literal, so that its types do not become part of this library's types. */
const PACKAGE: string = '@platformatic/kafka'

/** True when the npm package `@platformatic/kafka` can be loaded. */
export const KAFKA_AVAILABLE: boolean = canResolve()

/** The npm package `@platformatic/kafka` is not installed. */
export class KafkaNotAvailableError extends EventspineError {
  readonly code = 'KAFKA_NOT_AVAILABLE'

  constructor() {
    super(
      'KafkaEventBus needs the npm package "@platformatic/kafka", which is not installed. Run: npm install @platformatic/kafka@2',
    )
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

/** A group member as the assignors need it. */
export interface AssignableMember {
  readonly memberId: string
  readonly topics: string[]
  readonly ownedPartitions: TopicPartitions[]
  readonly generationId: number
}

export type KafkaAssignor = (
  self: string,
  members: ReadonlyMap<string, AssignableMember>,
  topics: ReadonlySet<string>,
  metadata: { readonly topics: ReadonlyMap<string, { readonly partitionsCount: number }> },
) => readonly {
  readonly memberId: string
  readonly assignments: ReadonlyMap<string, TopicPartitions>
}[]

/** The part of the client that this bus uses: its connections and its protocol. */
export interface KafkaLibrary {
  readonly Connection: new (clientId: string, options: object) => KafkaConnection
  readonly Writer: { create(): KafkaWriter }
  readonly compressionsAlgorithms: Readonly<Record<string, KafkaCompression>>
  readonly cooperativeStickyAssigner: KafkaAssignor
  readonly roundRobinAssigner: KafkaAssignor
  crc32c(bytes: Buffer): number
  encodeConsumerProtocolSubscription(subscription: object): Buffer
  decodeConsumerProtocolSubscription(bytes: Buffer): Omit<AssignableMember, 'memberId'>
  encodeConsumerProtocolAssignment(assignment: object): Buffer
  decodeConsumerProtocolAssignment(bytes: Buffer): { readonly assignedPartitions: TopicPartitions[] }
}

/** Loads the package. Called at the first connection. */
export async function loadKafka(): Promise<KafkaLibrary & Readonly<Record<string, unknown>>> {
  const library: unknown = await import(PACKAGE)
  // The interface declares the part of the package that is used.
  return library as KafkaLibrary & Readonly<Record<string, unknown>>
}

function canResolve(): boolean {
  try {
    import.meta.resolve('@platformatic/kafka')
    return true
  } catch {
    // The package is not installed.
    return false
  }
}
