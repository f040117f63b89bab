import { KafkaProxy } from '../kafka/proxy.ts'
import { type LineQuality, TcpProxy } from '../support/tcp-proxy.ts'

/** A Kafka proxy, and behind it a TCP proxy that can degrade the network. */
export class TortureKafkaProxy {
  readonly #front: KafkaProxy
  readonly #line: TcpProxy

  private constructor(front: KafkaProxy, line: TcpProxy) {
    this.#front = front
    this.#line = line
  }

  static async start(brokerPort: number): Promise<TortureKafkaProxy> {
    const line = await TcpProxy.start({ host: '127.0.0.1', port: brokerPort })
    return new TortureKafkaProxy(await KafkaProxy.start(brokerPort, line.port), line)
  }

  get port(): number {
    return this.#front.port
  }

  cut(): void {
    this.#front.cut()
  }

  freeze(): void {
    this.#front.freeze()
  }

  thaw(): void {
    this.#front.thaw()
  }

  degrade(quality: LineQuality | undefined): void {
    this.#line.degrade(quality)
  }

  close(): void {
    this.#front.close()
    this.#line.close()
  }
}
