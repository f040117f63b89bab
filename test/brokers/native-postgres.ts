import { chown, realpath, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { LaunchOptions } from './broker.ts'
import { postgresConfig } from './broker-config.ts'
import { chosenServer } from './chosen-server.ts'
import type { NativeCommand, UserIds } from './native-host.ts'
import { postgresPrograms } from './postgres-artifacts.ts'
import { findProgram, requirePrograms } from './programs.ts'
import { run } from './run.ts'

/** A cluster of its own, whose only way in is its loopback port. */
export async function postgresCommand(
  folder: string,
  port: number,
  { config = [] }: LaunchOptions,
): Promise<NativeCommand> {
  const programs = await programFolder()
  const user = await serverUser()
  if (user !== undefined) await chown(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const options = ['--username=postgres', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync']
  await run(join(programs, 'initdb'), [`--pgdata=${data}`, ...options], {}, user)
  const place = [`port = ${port}`, "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''"]
  await writeFile(join(data, 'postgresql.auto.conf'), [...place, ...postgresConfig, ...config, ''].join('\n'))
  return {
    folder,
    toolFolder: programs,
    command: join(programs, 'postgres'),
    args: ['-D', data],
    ...(user && { user }),
    stopSignal: 'SIGINT', // ends the sessions; SIGTERM would let them finish by themselves
    hasSessions: true,
  }
}

/** The folder of the server's programs: of the version that the environment chooses, otherwise the installed one. */
async function programFolder(): Promise<string> {
  const version = chosenServer('postgres')?.version
  if (version !== undefined) return postgresPrograms(version)
  await requirePrograms('initdb')
  const initdb = await findProgram('initdb')
  if (initdb === undefined) throw new Error('initdb is not installed')
  return dirname(await realpath(initdb))
}

/** PostgreSQL refuses to run as root: Debian's package has made a user for it. */
export async function serverUser(): Promise<UserIds | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const [uid, gid] = await Promise.all(
    ['--user', '--group'].map(async (kind) => Number(await run('id', [kind, 'postgres']))),
  )
  if (uid === undefined || gid === undefined) throw new Error('The user postgres has no ids')
  return { uid, gid }
}
