import { randomUUID } from 'node:crypto'
import { Client, type ClientConfig } from 'pg'
import { inject } from 'vitest'
import { PostgresStores, type PostgresStoresOptions } from '../../src/postgres/index.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

export const freshSchema = (): string => `test_${randomUUID().slice(0, 8)}`

/** Stores in a schema of their own, on the server that the tests share unless another one is named. */
export function openStores(options: PostgresStoresOptions = {}): PostgresStores {
  return new PostgresStores({
    ...(options.pool === undefined && { postgresUrl: inject('postgresUrl') }),
    schema: freshSchema(),
    migrate: 'run',
    poolSize: 5,
    logger: new RecordingLogger(),
    ...options,
  })
}

/** A client of the application's own, connected. */
export async function connected(
  postgresUrl = inject('postgresUrl'),
  config: ClientConfig = {},
): Promise<Client & AsyncDisposable> {
  const client = new Client({ connectionString: postgresUrl, ...config })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

/** Removes the tables of a test. */
export async function dropSchema(schema: string, postgresUrl = inject('postgresUrl')): Promise<void> {
  await using client = await connected(postgresUrl)
  await client.query(`drop schema if exists ${client.escapeIdentifier(schema)} cascade`)
}
