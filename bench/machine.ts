// Describes the machine of a run, without host names and paths.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, release, totalmem, type } from 'node:os'

export interface Machine {
  readonly cores: number
  readonly cpu: string
  readonly memoryGiB: number
  readonly os: string
  readonly node: string
}

export function thisMachine(): Machine {
  const cores = cpus()
  return {
    cores: cores.length,
    cpu: cores[0]?.model.trim() || 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    node: process.versions.node,
  }
}

/** The version of an installed package. It is read from the file, because not every package exports its package.json. */
export function versionOf(name: string): string {
  const require = createRequire(import.meta.url)
  const folder = require.resolve
    .paths(name)
    ?.map((path) => `${path}/${name}/package.json`)
    .find((path) => isThere(path))
  if (folder === undefined) return 'unknown'
  // Every package.json has a version.
  return (JSON.parse(readFileSync(folder, 'utf8')) as { version: string }).version
}

function isThere(path: string): boolean {
  try {
    readFileSync(path)
    return true
  } catch {
    return false
  }
}
