import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { LaunchOptions } from './broker.ts'
import { kafkaConfig } from './broker-config.ts'
import { freePort } from './free-port.ts'
import { copyFormatted, preparedKafka, quickStart } from './kafka-preparation.ts'
import type { NativeCommand } from './native-host.ts'
import { requirePrograms } from './programs.ts'
import { run } from './run.ts'

export async function kafkaCommand(
  folder: string,
  port: number,
  { config = [], listeners = [], isMeasured = false }: LaunchOptions,
): Promise<NativeCommand> {
  java ??= requireJava()
  await java
  const { classPath, classes, formatted } = await preparedKafka()
  const file = join(folder, 'server.properties')
  const node = {
    bindHost: '127.0.0.1',
    port,
    controllerPort: await freePort(),
    dataFolder: join(folder, 'data'),
    listeners,
  }
  const lines = [...kafkaConfig(node), ...config]
  await writeFile(file, lines.join('\n'))
  await copyFormatted(formatted, lines)
  const tuning = isMeasured ? [] : [...quickStart, `-XX:SharedArchiveFile=${classes}`]
  const options = ['-Xmx512m', ...tuning, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']
  return { folder, command: 'java', args: [...options, '-cp', classPath, 'kafka.Kafka', file] }
}

let java: Promise<void> | undefined

async function requireJava(): Promise<void> {
  await requirePrograms('java')
  const version = await run('java', ['--version'])
  const major = Number(/\d+/.exec(version)?.[0])
  if (major >= 17) return
  throw new Error(
    `Kafka needs Java 17 or newer and this machine has ${version.split('\n')[0]}: install a newer JDK`,
  )
}
