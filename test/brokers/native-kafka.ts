import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LaunchOptions } from './broker.ts'
import { kafkaConfig } from './broker-config.ts'
import { freePort } from './free-port.ts'
import { kafkaJars } from './kafka-artifacts.ts'
import type { NativeCommand } from './native-host.ts'
import { requirePrograms } from './programs.ts'
import { run } from './run.ts'

const clusterId = 'ZXZlbnRzcGluZS10ZXN0cw' // any 16 bytes in base64

/** Halves the CPU time of a start, and costs speed under lasting load. */
const quickStart = '-XX:TieredStopAtLevel=1'

export async function kafkaCommand(
  folder: string,
  port: number,
  { config = [], listeners = [], isMeasured = false }: LaunchOptions,
): Promise<NativeCommand> {
  await requireJava()
  const classPath = join(await kafkaJars(), '*')
  const file = join(folder, 'server.properties')
  const node = {
    bindHost: '127.0.0.1',
    port,
    controllerPort: await freePort(),
    dataFolder: join(folder, 'data'),
    listeners,
  }
  await writeFile(file, [...kafkaConfig(node), ...config].join('\n'))
  await run('java', [
    quickStart,
    '-cp',
    classPath,
    'kafka.tools.StorageTool',
    'format',
    '--cluster-id',
    clusterId,
    '--config',
    file,
  ])
  const compiler = isMeasured ? [] : [quickStart]
  const options = ['-Xmx512m', ...compiler, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']
  return { folder, command: 'java', args: [...options, '-cp', classPath, 'kafka.Kafka', file] }
}

async function requireJava(): Promise<void> {
  await requirePrograms('java')
  const version = await run('java', ['--version'])
  const major = Number(/\d+/.exec(version)?.[0])
  if (major >= 17) return
  throw new Error(
    `Kafka needs Java 17 or newer and this machine has ${version.split('\n')[0]}: install a newer JDK`,
  )
}
