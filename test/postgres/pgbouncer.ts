import { chown, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { waitFor } from '../../src/testing/index.ts'
import { freePort } from '../brokers/free-port.ts'
import { NativeHost } from '../brokers/native-host.ts'
import { serverUser } from '../brokers/native-postgres.ts'
import { findProgram, requirePrograms } from '../brokers/programs.ts'
import { paced } from '../support/pace.ts'

/** PgBouncer before a server, in transaction mode: a connection is lent for one transaction. */
export async function launchPgBouncer(
  postgresUrl: string,
): Promise<AsyncDisposable & { readonly url: string }> {
  await requirePrograms('pgbouncer')
  const program = await findProgram('pgbouncer')
  if (program === undefined) throw new Error('pgbouncer is not installed')
  const [port, folder, user] = await Promise.all([
    freePort(),
    mkdtemp(join(tmpdir(), 'eventspine-pgbouncer-')),
    serverUser(),
  ])
  const server = new URL(postgresUrl)
  const file = join(folder, 'pgbouncer.ini')
  await writeFile(join(folder, 'users.txt'), `"${server.username}" ""\n`)
  await writeFile(
    file,
    `[databases]
postgres = host=${server.hostname} port=${server.port} dbname=postgres user=${server.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
auth_type = trust
auth_file = ${folder}/users.txt
pool_mode = transaction
default_pool_size = 20
max_client_conn = 500
unix_socket_dir =
ignore_startup_parameters = extra_float_digits,options
`,
  )
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  const host = new NativeHost({
    folder,
    command: program,
    args: [file],
    ...(user && { user }),
    stopSignal: 'SIGINT',
  })
  await host.start()
  const url = `postgres://${server.username}@127.0.0.1:${port}/postgres`
  await waitFor(() => answers(url), { timeoutMs: paced(20_000), describe: () => 'PgBouncer' })
  return { url, [Symbol.asyncDispose]: () => host.remove() }
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url })
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false // not yet
  } finally {
    await client.end()
  }
}
