import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LaunchOptions } from './broker.ts'
import { redisConfig } from './broker-config.ts'
import { chosenServer } from './chosen-server.ts'
import type { NativeCommand } from './native-host.ts'
import { requirePrograms } from './programs.ts'

export async function redisCommand(
  folder: string,
  port: number,
  { config = [] }: LaunchOptions,
): Promise<NativeCommand> {
  const { root, program = 'redis-server' } = chosenServer('redis') ?? {}
  if (root === undefined && program === 'redis-server') await requirePrograms(program)
  const file = join(folder, 'redis.conf')
  const place = [`port ${port}`, 'bind 127.0.0.1', `dir ${JSON.stringify(folder)}`]
  await writeFile(file, [...place, ...redisConfig, ...config].join('\n'))
  return { folder, root, command: program, args: [file] }
}
