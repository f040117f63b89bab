/** Not a literal, because the package's types do not compile with this project's settings. */
const PACKAGE: string = '@platformatic/kafka'

export interface PlainMessage {
  readonly topic: string
  readonly key?: Buffer | undefined
  readonly value: Buffer | null
  readonly partition?: number
  readonly headers?: Map<Buffer, Buffer | null>
}

interface PlainProducer {
  send(options: { messages: readonly PlainMessage[]; acks: number; compression?: string }): Promise<unknown>
  close(): Promise<void>
}

interface PlainAdmin {
  deleteTopics(options: { topics: readonly string[] }): Promise<void>
  createTopics(options: object): Promise<unknown>
  listTopics(): Promise<readonly string[]>
  listGroups(): Promise<ReadonlyMap<string, unknown>>
  describeGroups(options: {
    groups: readonly string[]
  }): Promise<ReadonlyMap<string, { members: ReadonlyMap<string, unknown> }>>
  listConsumerGroupOffsets(options: object): Promise<readonly PlainGroupOffsets[]>
  alterConsumerGroupOffsets(options: object): Promise<unknown>
  deleteGroups(options: object): Promise<unknown>
  removeMembersFromConsumerGroup(options: object): Promise<unknown>
  incrementalAlterConfigs(options: object): Promise<unknown>
  deleteRecords(options: object): Promise<unknown>
  createAcls(options: object): Promise<unknown>
  deleteAcls(options: object): Promise<unknown>
  createPartitions(options: object): Promise<unknown>
  close(): Promise<void>
}

interface PlainGroupOffsets {
  readonly topics: readonly {
    readonly name: string
    readonly partitions: readonly {
      readonly partitionIndex: number
      readonly committedOffset: bigint
      readonly metadata: string | null
    }[]
  }[]
}

interface PlainLibrary {
  readonly Producer: new (options: object) => PlainProducer
  readonly Admin: new (options: object) => PlainAdmin
}

// The package exports these classes.
const { Producer, Admin } = (await import(PACKAGE)) as PlainLibrary

const CLIENT = { clientId: 'plain', strict: false }

/** A producer that does not use the library. */
export class PlainWriter {
  readonly #producer: PlainProducer

  constructor(server: string) {
    this.#producer = new Producer({ ...CLIENT, bootstrapBrokers: [server] })
  }

  async send(messages: readonly PlainMessage[], compression = 'none'): Promise<void> {
    await this.#producer.send({ messages, acks: -1, compression })
  }

  async close(): Promise<void> {
    await this.#producer.close()
  }
}

/** Publishes messages with a plain client. */
export async function produce(
  server: string,
  messages: readonly PlainMessage[],
  compression?: string,
): Promise<void> {
  const writer = new PlainWriter(server)
  try {
    await writer.send(messages, compression)
  } finally {
    await writer.close()
  }
}

/** Runs an administrator's action. */
export async function administer<T>(server: string, work: (admin: PlainAdmin) => Promise<T>): Promise<T> {
  const admin = new Admin({ ...CLIENT, bootstrapBrokers: [server] })
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}
