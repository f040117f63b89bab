import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { kafkaConfig } from './broker-config.ts'
import { freePort } from './free-port.ts'
import { kafkaJars } from './kafka-artifacts.ts'
import { isAnswering } from './probe.ts'
import { run } from './run.ts'

/** What each start of a Kafka process would do again, done once for a version and kept in the user's cache. */
interface PreparedKafka {
  readonly classPath: string
  /** An archive of Kafka's classes for the JVM. It halves the CPU time of a start. */
  readonly classes: string
  /** A data folder that the storage tool has formatted. */
  readonly formatted: string
}

const clusterId = 'ZXZlbnRzcGluZS10ZXN0cw' // any 16 bytes in base64

/** Options that halve the CPU time of a start, and cost speed under lasting load. */
export const quickStart = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC'] as const

/** Prepares the chosen version, which takes as long as a few starts. */
export async function preparedKafka(): Promise<PreparedKafka> {
  const jars = await kafkaJars()
  const classPath = join(jars, '*')
  const folder = `${jars}-prepared`
  if (!existsSync(folder)) await prepare(folder, classPath)
  return { classPath, classes: join(folder, 'classes.jsa'), formatted: join(folder, 'data') }
}

async function prepare(folder: string, classPath: string): Promise<void> {
  const unfinished = await mkdtemp(`${folder}-`)
  const path = (name: string) => join(unfinished, name)
  const port = await freePort()
  const ports = { bindHost: '127.0.0.1', port, controllerPort: await freePort() }
  const file = path('server.properties')
  try {
    await writeFile(file, kafkaConfig({ ...ports, dataFolder: path('used'), listeners: [] }).join('\n'))
    const tool = ['-cp', classPath, 'kafka.tools.StorageTool', 'format']
    await run('java', [...quickStart, ...tool, '--cluster-id', clusterId, '--config', file])
    await cp(path('used'), path('data'), { recursive: true })
    await archiveClasses(path('classes.jsa'), classPath, file, port)
    await rm(path('used'), { recursive: true })
    // Renaming is atomic, so an interrupted preparation is never mistaken for a complete one.
    await rename(unfinished, folder)
  } catch (error) {
    // Another process was faster: renaming onto its non-empty folder fails.
    if (!existsSync(folder)) throw error
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

/** Runs a broker until it answers. The JVM archives the classes it has loaded when the broker stops. */
async function archiveClasses(
  archive: string,
  classPath: string,
  config: string,
  port: number,
): Promise<void> {
  const options = [...quickStart, `-XX:ArchiveClassesAtExit=${archive}`, '-cp', classPath]
  const broker = spawn('java', [...options, 'kafka.Kafka', config], { stdio: 'ignore' })
  const ended = once(broker, 'exit')
  while (broker.exitCode === null && !(await isAnswering('kafka', { host: '127.0.0.1', port }, 1000)))
    await new Promise((resolve) => setTimeout(resolve, 100))
  broker.kill()
  await ended
  if (!existsSync(archive)) throw new Error(`the JVM wrote no archive of Kafka's classes to ${archive}`)
}

/** Makes the formatted data folder of a node with this configuration. The files of two nodes differ in their ids only. */
export async function copyFormatted(formatted: string, config: readonly string[]): Promise<void> {
  const [dataFolder, nodeId] = ['log.dirs', 'node.id'].map((key) => {
    const line = config.findLast((one) => one.startsWith(`${key}=`)) ?? ''
    return line.slice(key.length + 1)
  }) as [string, string]
  await cp(formatted, dataFolder, { recursive: true })
  const properties = (await readFile(join(formatted, 'meta.properties'), 'utf8'))
    .replace(/^node\.id=.*$/m, `node.id=${nodeId}`)
    // A directory id is a UUID in the base64 of URLs.
    .replace(/^directory\.id=.*$/m, `directory.id=${randomBytes(16).toString('base64url')}`)
  await writeFile(join(dataFolder, 'meta.properties'), properties)
}
