import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { StoresPlace } from '../../support/stores-of.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import type { StoreHistory } from './facts.ts'
import type { StoreWorkerOptions } from './worker.ts'

const WORKER = fileURLToPath(new URL('worker.ts', import.meta.url))

/** Maximum duration of a shutdown, in milliseconds. A slower process is killed, which is a violation. */
const END_MS = 20_000

export type Role = StoreWorkerOptions['role']

/** One process of a run; it has its own proxy if the stores have a server. */
export class StoreActor {
  readonly name: string
  readonly role: Role
  readonly proxy: TcpProxy | undefined
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  readonly #ready: Promise<unknown>
  #output = ''

  static async start(options: StoreWorkerOptions): Promise<StoreActor> {
    if ('file' in options.place) return new StoreActor(options, undefined)
    const url = new URL(options.place.postgresUrl)
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: Number(url.port) })
    url.port = String(proxy.port)
    const place: StoresPlace = { ...options.place, postgresUrl: url.href }
    return new StoreActor({ ...options, place }, proxy)
  }

  private constructor(options: StoreWorkerOptions, proxy: TcpProxy | undefined) {
    this.name = options.name
    this.role = options.role
    this.proxy = proxy
    this.#child = spawn(process.execPath, [WORKER, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#output = (this.#output + String(chunk)).slice(-2000)
    })
    this.#closed = once(this.#child, 'close')
    // Its first line says that it listens to SIGTERM.
    this.#ready = new Promise((resolve) => this.#child.stdout?.once('data', resolve))
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
    this.proxy?.close()
  }

  /** Asks it to end, and records how it did. */
  async stop(history: StoreHistory): Promise<void> {
    await Promise.race([this.#ready, this.#closed])
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS)
    await this.#closed
    clearTimeout(timer)
    this.proxy?.close()
    const { exitCode } = this.#child
    history.record({ kind: 'ended', process: this.name, exitCode, output: this.#output })
  }
}
