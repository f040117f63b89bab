import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cacheFolder } from './cache-folder.ts'
import { kafkaVersion } from './images.ts'
import { requirePrograms } from './programs.ts'
import { run } from './run.ts'

const copyDependencies = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'

/** @returns the folder with Kafka's jars. They are downloaded from Maven Central once and kept in the user's cache. */
export async function kafkaJars(): Promise<string> {
  const folder = join(cacheFolder(), `kafka-${kafkaVersion()}`)
  if (!existsSync(folder)) await download(folder)
  return folder
}

async function download(folder: string): Promise<void> {
  await requirePrograms('mvn')
  console.error(`Fetching Kafka ${kafkaVersion()} (54 MB) from Maven Central into ${folder}`)
  await mkdir(dirname(folder), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-`)
  try {
    const pom = join(unfinished, 'pom.xml')
    await writeFile(pom, kafkaPom(kafkaVersion()))
    await run('mvn', [
      '-B',
      '-q',
      '-f',
      pom,
      copyDependencies,
      `-DoutputDirectory=${join(unfinished, 'jars')}`,
    ])
    // Renaming is atomic, so an interrupted download is never mistaken for a complete one.
    await rename(join(unfinished, 'jars'), folder)
  } catch (error) {
    // Another process was faster: renaming onto its non-empty folder fails.
    if (!existsSync(folder)) throw error
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

function kafkaPom(version: string): string {
  const artifacts = [
    ['org.apache.kafka', 'kafka_2.13', version],
    ['org.apache.kafka', 'kafka-tools', version],
    ['org.slf4j', 'slf4j-simple', '1.7.36'], // the version of slf4j-api that Kafka 4.1 depends on
  ]
  const dependencies = artifacts.map(
    ([group, name, v]) =>
      `<dependency><groupId>${group}</groupId><artifactId>${name}</artifactId><version>${v}</version></dependency>`,
  )
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>eventspine</groupId><artifactId>test-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>${dependencies.join('\n')}</dependencies>
</project>`
}
