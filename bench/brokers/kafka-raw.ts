// The bare client with the code that a program needs to publish fast: one request in flight while callers queue.

/** Importing by a variable avoids loading the package's types, which do not compile under this project's settings. */
const PACKAGE: string = '@platformatic/kafka'

export interface PlainMessage {
  readonly topic: string
  readonly key: string
  readonly value: string
  readonly headers: Readonly<Record<string, string>>
}

export interface PlainRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly key: string
  readonly value: string
  readonly headers: ReadonlyMap<string, string>
}

export interface PlainOffset {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly leaderEpoch: number
}

export interface PlainProducer {
  send(options: { readonly messages: readonly PlainMessage[]; readonly acks: number }): Promise<unknown>
  close(): Promise<void>
}

export interface PlainStream {
  pause(): unknown
  resume(): unknown
  on(event: 'data', listener: (record: PlainRecord) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  close(): Promise<void>
}

export interface PlainConsumer {
  consume(options: object): Promise<PlainStream>
  commit(options: { readonly offsets: readonly PlainOffset[] }): Promise<unknown>
  close(force: boolean): Promise<void>
}

interface PlainAdmin {
  createTopics(options: object): Promise<unknown>
  deleteTopics(options: { readonly topics: readonly string[] }): Promise<void>
  close(): Promise<void>
}

interface PlainLibrary {
  readonly Producer: new (options: object) => PlainProducer
  readonly Consumer: new (options: object) => PlainConsumer
  readonly Admin: new (options: object) => PlainAdmin
  readonly stringSerializers: object
  readonly stringDeserializers: object
}

// The package exports these names.
const library = (await import(PACKAGE)) as PlainLibrary

const CLIENT = { clientId: 'bare', strict: false, retries: true }

export function plainAdmin(server: string): PlainAdmin {
  return new library.Admin({ ...CLIENT, bootstrapBrokers: [server] })
}

export function plainProducer(server: string, compression: 'none' | 'gzip'): PlainProducer {
  const { stringSerializers: serializers } = library
  return new library.Producer({ ...CLIENT, bootstrapBrokers: [server], serializers, compression })
}

/** Callers queue while a request is in flight; the queue is then sent as one request. */
export function coalesced(producer: PlainProducer): (message: PlainMessage) => Promise<void> {
  let waiting: { readonly message: PlainMessage; readonly resolve: () => void }[] = []
  let isBusy = false
  const pump = async () => {
    isBusy = true
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      await producer.send({ messages: batch.map(({ message }) => message), acks: -1 })
      for (const { resolve } of batch) resolve()
    }
    isBusy = false
  }
  return (message) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    waiting.push({ message, resolve })
    if (!isBusy) setImmediate(() => isBusy || void pump())
    return promise
  }
}

export function plainConsumer(server: string, groupId: string): PlainConsumer {
  const { stringDeserializers: deserializers } = library
  return new library.Consumer({ ...CLIENT, bootstrapBrokers: [server], groupId, deserializers })
}
