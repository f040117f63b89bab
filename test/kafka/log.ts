import { randomUUID } from 'node:crypto'
import type { PlainMessage } from './plain-kafka.ts'

/** Not a literal, because the package's types do not compile with this project's settings. */
const PACKAGE: string = '@platformatic/kafka'

/** A record as a plain client reads it. */
export interface PlainRecord {
  readonly partition: number
  readonly offset: bigint
  readonly key: Buffer | null | undefined
  readonly value: Buffer | null | undefined
  readonly headers: ReadonlyMap<Buffer, Buffer | null>
}

interface PlainConsumer {
  consume(options: object): Promise<AsyncIterable<PlainRecord> & { close(): Promise<void> }>
  close(force: boolean): Promise<void>
}

interface PlainTransaction {
  send(options: { readonly messages: readonly PlainMessage[]; readonly acks: number }): Promise<unknown>
  commit(): Promise<void>
  abort(): Promise<void>
}

interface TransactionalProducer {
  beginTransaction(): Promise<PlainTransaction>
  close(): Promise<void>
}

interface PlainLibrary {
  readonly Consumer: new (options: object) => PlainConsumer
  readonly Producer: new (options: object) => TransactionalProducer
}

// The package exports these classes.
const { Consumer, Producer } = (await import(PACKAGE)) as PlainLibrary

/** Writes each message in its own transaction, which is committed or aborted. */
export async function produceInTransactions(
  server: string,
  transactions: readonly { readonly messages: readonly PlainMessage[]; readonly end: 'commit' | 'abort' }[],
): Promise<void> {
  const transactionalId = `plain-${randomUUID()}`
  const bootstrapBrokers = [server]
  const producer = new Producer({
    clientId: 'plain',
    strict: false,
    bootstrapBrokers,
    transactionalId,
    idempotent: true,
  })
  try {
    for (const { messages, end } of transactions) {
      const transaction = await producer.beginTransaction()
      await transaction.send({ messages, acks: -1 })
      await transaction[end]()
    }
  } finally {
    await producer.close()
  }
}

/** Reads the first records of a topic, or the first that match, with a plain client; sorted by partition and offset. */
export async function readLog(
  server: string,
  topic: string,
  count: number,
  isWanted: (record: PlainRecord) => boolean = () => true,
): Promise<readonly PlainRecord[]> {
  const consumer = new Consumer({
    clientId: 'plain',
    groupId: `plain-${randomUUID()}`,
    bootstrapBrokers: [server],
    autocommit: false,
    strict: false,
  })
  try {
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest', maxWaitTime: 100 })
    const records: PlainRecord[] = []
    for await (const record of stream) {
      if (isWanted(record)) records.push(record)
      if (records.length >= count) break
    }
    await stream.close()
    return records.sort((a, b) => a.partition - b.partition || Number(a.offset - b.offset))
  } finally {
    await consumer.close(true)
  }
}

/** Headers as pairs of texts, in order. */
export function headerPairs({ headers }: PlainRecord): readonly (readonly [string, string])[] {
  return [...headers].map(([name, value]) => [name.toString('utf8'), value?.toString('utf8') ?? 'null'])
}
