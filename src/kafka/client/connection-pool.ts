import type { BrokerConnection, ConnectionUse } from './broker-connection.ts'

interface PoolEntry {
  readonly opening: Promise<BrokerConnection>
  /** Undefined while the connection is being opened. */
  connection: BrokerConnection | undefined
}

/** The open connections: for each use, one per broker and one to any broker. */
export class ConnectionPool {
  readonly #entries = new Map<string, PoolEntry>()

  /** The connection of a broker for a use, which may still be opening; undefined if there is none. */
  get(nodeId: number | undefined, use: ConnectionUse): Promise<BrokerConnection> | undefined {
    return this.#entries.get(keyOf(nodeId, use))?.opening
  }

  /** Keeps a connection until it is removed or fails to open. */
  add(nodeId: number | undefined, use: ConnectionUse, opening: Promise<BrokerConnection>): void {
    const key = keyOf(nodeId, use)
    const entry: PoolEntry = { opening, connection: undefined }
    this.#entries.set(key, entry)
    const onFailed = () => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key)
    }
    opening.then((connection) => {
      entry.connection = connection
    }, onFailed)
  }

  /** Removes the connection of a target, because it broke. */
  remove({ target }: BrokerConnection): void {
    this.#entries.delete(keyOf(target.nodeId, target.use))
  }

  /** Closes the connection of a broker for a use, whose requests in flight then fail. No-op if there is none. */
  async close(nodeId: number | undefined, use: ConnectionUse): Promise<void> {
    const connection = await this.get(nodeId, use)?.catch(() => undefined)
    if (connection !== undefined) await this.discard(connection)
  }

  /** Closes a connection, and removes it unless another one has replaced it. */
  async discard(connection: BrokerConnection): Promise<void> {
    const key = keyOf(connection.target.nodeId, connection.target.use)
    if (this.#entries.get(key)?.connection === connection) this.#entries.delete(key)
    await connection.close()
  }

  async closeAll(): Promise<void> {
    const entries = [...this.#entries.values()]
    await Promise.allSettled(entries.map(async ({ opening }) => this.discard(await opening)))
  }
}

function keyOf(nodeId: number | undefined, use: ConnectionUse): string {
  return `${nodeId ?? 'any'} ${use}`
}
