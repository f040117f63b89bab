import { randomUUID } from 'node:crypto'
import type { OrderHandler } from '../broker-bench.ts'
import type { Order } from '../order.ts'
import { Lanes } from './lanes.ts'
import type { RedisClient } from './redis.ts'

interface Place {
  readonly stream: string
  readonly deadLetters: string
  readonly group: string
}

interface RawRedisOptions {
  readonly client: RedisClient
  /** A separate connection for the blocking reads. */
  readonly reader: RedisClient
  readonly place: Place
  readonly handlers: readonly OrderHandler[]
  readonly lanes: number | undefined
}

type Entry = readonly [id: string, fields: readonly string[]]

const MAX_IN_FLIGHT = 1000

/** Reads pages of 100 and acknowledges finished entries with one XACK; the next read does not wait for it. */
export class RawRedisConsumer implements AsyncDisposable {
  readonly #options: RawRedisOptions
  readonly #lanes: Lanes
  readonly #name = randomUUID()
  readonly #running: Promise<void>
  #done: string[] = []
  #acknowledged: Promise<unknown> | undefined
  #inFlight = 0
  #room = Promise.withResolvers<void>()
  #isStopped = false

  constructor(options: RawRedisOptions) {
    this.#options = options
    this.#lanes = new Lanes(options.handlers, options.lanes)
    this.#running = this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true
    this.#options.reader.destroy()
    this.#room.resolve()
    await this.#running
    await this.#acknowledged
    this.#options.client.destroy()
  }

  async #run(): Promise<void> {
    await this.#join()
    while (!this.#isStopped) {
      const entries = await this.#read()
      this.#inFlight += entries.length
      for (const entry of entries) this.#handle(entry)
      while (this.#inFlight > MAX_IN_FLIGHT && !this.#isStopped) {
        this.#room = Promise.withResolvers()
        await this.#room.promise
      }
    }
  }

  /** Without the group there is nothing to read. Without the claim, entries of a consumer that died would be lost. */
  async #join(): Promise<void> {
    const { client, place } = this.#options
    const { stream, group } = place
    await client.sendCommand(['XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM']).catch(() => undefined)
    await client.sendCommand([
      'XAUTOCLAIM',
      stream,
      group,
      this.#name,
      '60000',
      '0',
      'COUNT',
      '100',
      'JUSTID',
    ])
  }

  async #read(): Promise<readonly Entry[]> {
    const { reader, place } = this.#options
    const group = ['XREADGROUP', 'GROUP', place.group, this.#name, 'COUNT', '100', 'BLOCK', '1000']
    try {
      const reply = await reader.sendCommand([...group, 'STREAMS', place.stream, '>'])
      // One stream was requested, so the reply has the entries of one stream. It is null after a timeout.
      return (reply as unknown as [[string, Entry[]]] | null)?.[0][1] ?? []
    } catch (error) {
      if (this.#isStopped) return []
      throw error
    }
  }

  #handle([id, fields]: Entry): void {
    // The field that `append` writes last.
    const event = JSON.parse(fields.at(-1) ?? '') as Order & { readonly aggregate_id: string }
    this.#lanes.run(event.aggregate_id, event, (error) => {
      if (error === undefined) this.#finish(id)
      else void this.#deadLetter(fields).then(() => this.#finish(id))
    })
  }

  #deadLetter(fields: readonly string[]): Promise<unknown> {
    const { client, place } = this.#options
    return client.sendCommand(['XADD', place.deadLetters, '*', ...fields, 'dlq_reason', 'it failed'])
  }

  /** Entries that finish in the same turn share one acknowledgment, and only one acknowledgment is in flight. */
  #finish(id: string): void {
    this.#inFlight -= 1
    if (this.#inFlight <= MAX_IN_FLIGHT) this.#room.resolve()
    this.#done.push(id)
    this.#acknowledged ??= Promise.resolve().then(() => this.#acknowledge())
  }

  async #acknowledge(): Promise<void> {
    const { client, place } = this.#options
    while (this.#done.length > 0) {
      const ids = this.#done
      this.#done = []
      await client.sendCommand(['XACK', place.stream, place.group, ...ids])
    }
    this.#acknowledged = undefined
  }
}
