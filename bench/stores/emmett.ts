// Emmett's event store in PostgreSQL: the same events through its public interface.
import type { Pool } from 'pg'
import type { OrderPlaced } from './store-bench.ts'

/** Importing by a variable avoids loading the package's types; the part in use is declared below. */
const PACKAGE: string = '@event-driven-io/emmett-postgresql'

interface EmmettEvent {
  readonly type: string
  readonly data: object
}

interface EmmettStore {
  readonly schema: { migrate(): Promise<unknown> }
  appendToStream(name: string, events: EmmettEvent[], options: object): Promise<unknown>
  readStream(name: string): Promise<{ readonly events: readonly unknown[] }>
  close(): Promise<void>
}

interface EmmettLibrary {
  getPostgreSQLEventStore(url: string, options: object): EmmettStore
}

export interface Emmett {
  readonly write: (events: readonly OrderPlaced[]) => Promise<unknown>
  readonly load: (aggregateId: string) => Promise<number>
  readonly close: () => Promise<void>
}

/** Its tables have fixed names: one database holds one store. */
export async function openEmmett(scene: {
  readonly postgresUrl: string
  readonly pool: Pool
}): Promise<Emmett> {
  // The package exports this function.
  const { getPostgreSQLEventStore } = (await import(PACKAGE)) as EmmettLibrary
  const store = getPostgreSQLEventStore(scene.postgresUrl, { schema: { autoMigration: 'None' } })
  await store.schema.migrate()
  return {
    write: (events) =>
      store.appendToStream(`Order-${events[0]?.aggregateId}`, events.map(messageOf), {
        expectedStreamVersion: 0n,
      }),
    load: async (aggregateId) => (await store.readStream(`Order-${aggregateId}`)).events.length,
    close: () => store.close(),
  }
}

function messageOf({ customerId, total, lines }: OrderPlaced): EmmettEvent {
  return { type: 'OrderPlaced', data: { customerId, total, lines } }
}
