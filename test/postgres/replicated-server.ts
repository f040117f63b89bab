import { appendFile, chown, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Broker } from '../brokers/broker.ts'
import { dataFolder } from '../brokers/data-folder.ts'
import { freePort } from '../brokers/free-port.ts'
import { NativeHost } from '../brokers/native-host.ts'
import { postgresCommand } from '../brokers/native-postgres.ts'
import { run } from '../brokers/run.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connected } from './postgres-scene.ts'

type Server = Broker<'postgres'>

/** A primary, a standby that follows it asynchronously, and the address that clients use for the one that takes writes. */
export class ReplicatedServer implements AsyncDisposable {
  readonly primary: Server
  readonly standby: Server
  readonly #replication: TcpProxy
  readonly #clients: TcpProxy

  static async launch(): Promise<ReplicatedServer> {
    const folder = () => mkdtemp(join(dataFolder, 'eventspine-postgres-'))
    const [first, second, port, standbyPort] = await Promise.all([folder(), folder(), freePort(), freePort()])
    const replication = await TcpProxy.start({ host: '127.0.0.1', port })
    const clients = await TcpProxy.start({ host: '127.0.0.1', port })
    const command = await postgresCommand(first, port, {})
    const data = join(second, 'data')
    await run('cp', ['-a', first, second, '--no-target-directory'])
    const source = `host=127.0.0.1 port=${replication.port} user=postgres`
    const own = [`port = ${standbyPort}`, `primary_conninfo = '${source}'`]
    await appendFile(join(data, 'postgresql.auto.conf'), `${own.join('\n')}\n`)
    const signal = join(data, 'standby.signal')
    await writeFile(signal, '')
    if (command.user !== undefined) await chown(signal, command.user.uid, command.user.gid)
    const standbyCommand = { ...command, folder: second, args: ['-D', data] }
    const primary = new Broker('postgres', port, new NativeHost(command))
    const standby = new Broker('postgres', standbyPort, new NativeHost(standbyCommand))
    const server = new ReplicatedServer(primary, standby, replication, clients)
    await primary.start()
    await standby.start()
    return server
  }

  private constructor(primary: Server, standby: Server, replication: TcpProxy, clients: TcpProxy) {
    this.primary = primary
    this.standby = standby
    this.#replication = replication
    this.#clients = clients
  }

  /** The URL of the server that accepts writes. */
  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.#clients.port}/postgres`
  }

  /** From now on, the standby receives nothing more. */
  stopReplication(): void {
    this.#replication.setDown(true)
  }

  /** Promotes the standby and redirects all clients to it. The primary keeps running without them. */
  async failOver(): Promise<void> {
    await using client = await connected(this.standby.url)
    await client.query('select pg_promote()')
    this.#clients.redirect({ host: '127.0.0.1', port: this.standby.port })
    this.#clients.cut()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of [this.#replication, this.#clients]) proxy.close()
    for (const server of [this.standby, this.primary]) await server.dispose()
  }
}
