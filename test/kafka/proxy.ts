import { connect, type Socket } from 'node:net'
import { ProxyConnections } from '../support/proxy-connections.ts'

const PRODUCE = 0
const API_VERSIONS = 18

/** A request as the proxy saw it. */
export interface SeenRequest {
  readonly key: number
  readonly version: number
}

/** Splits a stream into messages of Kafka's protocol: the length, then the bytes. */
class Frames {
  #rest: Buffer = Buffer.alloc(0)

  add(chunk: Buffer): readonly Buffer[] {
    const whole: Buffer[] = []
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (this.#rest.length >= 4) {
      const end = 4 + this.#rest.readInt32BE(0)
      if (this.#rest.length < end) break
      whole.push(this.#rest.subarray(0, end))
      this.#rest = this.#rest.subarray(end)
    }
    return whole
  }
}

/**
 * A proxy in front of one broker, to break one bus's connections without affecting other buses. The broker announces its
 * own address to clients; the proxy replaces it with its own.
 */
export class KafkaProxy {
  readonly #connections: ProxyConnections
  readonly #brokerPort: number
  readonly #produced: number[] = []
  readonly #requests: SeenRequest[] = []
  #maxVersions: ReadonlyMap<number, number> = new Map()
  #announcedPort: number | undefined
  #isLosing = false
  #toDamage: string | undefined

  private constructor(connections: ProxyConnections, brokerPort: number) {
    this.#connections = connections
    this.#brokerPort = brokerPort
  }

  /** @param throughPort - the port of another proxy between this one and the broker. */
  static async start(brokerPort: number, throughPort: number = brokerPort): Promise<KafkaProxy> {
    const connections = await ProxyConnections.listen()
    const proxy = new KafkaProxy(connections, brokerPort)
    connections.onClient((client) => {
      const broker = connect(throughPort, '127.0.0.1')
      proxy.#pass(client, broker)
      connections.pair(client, broker)
    })
    return proxy
  }

  get port(): number {
    return this.#connections.port
  }

  /** Sizes of the produce requests in bytes, in order. */
  get produced(): readonly number[] {
    return this.#produced
  }

  /** The requests that clients sent, in order. */
  get requests(): readonly SeenRequest[] {
    return this.#requests
  }

  /** Acts as an older broker, which does not know the newer versions of some requests. */
  limitVersions(maxVersions: ReadonlyMap<number, number>): void {
    this.#maxVersions = maxVersions
  }

  /** Announces another address than its own as the broker's. */
  announce(port: number): void {
    this.#announcedPort = port
  }

  /** Resets the current connections. New ones work. */
  cut(): void {
    this.#connections.cut()
  }

  /** While true, connections are cut and new ones refused, as if the broker were not there. */
  setDown(isDown: boolean): void {
    this.#connections.setDown(isDown)
  }

  /** Acts as a black hole: connections stay open, but nothing passes in either direction. */
  freeze(): void {
    this.#connections.freeze()
  }

  /** Lets new connections through. Frozen connections stay frozen. */
  thaw(): void {
    this.#connections.thaw()
  }

  /** Drops the broker's confirmations of publishes. */
  loseConfirmations(isLosing: boolean): void {
    this.#isLosing = isLosing
  }

  /** Changes a byte of the next answer that contains this text. */
  damage(text: string): void {
    this.#toDamage = text
  }

  close(): void {
    this.#connections.close()
  }

  #pass(client: Socket, broker: Socket): void {
    const produces = new Set<number>()
    const negotiations = new Set<number>()
    const requests = new Frames()
    const answers = new Frames()
    client.on('data', (chunk) => {
      for (const frame of requests.add(chunk)) {
        const key = frame.readInt16BE(4)
        const version = frame.readInt16BE(6)
        this.#requests.push({ key, version })
        // A broker closes the connection if it does not know the version of a request.
        if (version > (this.#maxVersions.get(key) ?? Number.POSITIVE_INFINITY)) client.destroy()
        if (key === API_VERSIONS) negotiations.add(frame.readInt32BE(8))
        if (key === PRODUCE) {
          produces.add(frame.readInt32BE(8))
          this.#produced.push(frame.length)
        }
        broker.write(frame)
      }
    })
    broker.on('data', (chunk) => {
      for (const frame of answers.add(chunk)) {
        const isConfirmation = produces.delete(frame.readInt32BE(4))
        if (negotiations.delete(frame.readInt32BE(4))) this.#limit(frame)
        if (!(isConfirmation && this.#isLosing)) client.write(this.#withOwnAddress(frame))
      }
    })
  }

  /** Lowers the newest versions in an answer: after length, id and code, a count of one byte, and 7 bytes per request. */
  #limit(frame: Buffer): void {
    for (let at = 11; at + 7 <= frame.length; at += 7) {
      const max = this.#maxVersions.get(frame.readInt16BE(at))
      if (max !== undefined) frame.writeInt16BE(Math.min(max, frame.readInt16BE(at + 4)), at + 4)
    }
  }

  #withOwnAddress(frame: Buffer): Buffer {
    const theirs = address(this.#brokerPort)
    const copy = Buffer.from(frame)
    const damaged = this.#toDamage === undefined ? -1 : copy.indexOf(this.#toDamage)
    if (damaged >= 0) {
      copy.writeUInt8(copy.readUInt8(damaged) ^ 1, damaged)
      this.#toDamage = undefined
    }
    for (let at = copy.indexOf(theirs); at >= 0; at = copy.indexOf(theirs, at + 1))
      address(this.#announcedPort ?? this.port).copy(copy, at)
    return copy
  }
}

function address(port: number): Buffer {
  const bytes = Buffer.alloc(13)
  bytes.write('127.0.0.1', 'latin1')
  bytes.writeInt32BE(port, 9)
  return bytes
}
