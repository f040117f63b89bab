import { existsSync } from 'node:fs'
import { access, constants, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { run } from './run.ts'

const debianPackages = {
  'redis-server': 'redis-server',
  'rabbitmq-server': 'rabbitmq-server',
  epmd: 'erlang-base',
  java: 'default-jre-headless',
  mvn: 'maven',
} as const

export type Program = keyof typeof debianPackages

/** @returns the path of an executable: an absolute path as it is, otherwise from the PATH or the system's folders. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/bin']
  const candidates = name.startsWith('/') ? [name] : folders.map((folder) => join(folder, name))
  for (const path of candidates) {
    try {
      await access(path, constants.X_OK)
      return path
    } catch {
      // not in this folder
    }
  }
  return undefined
}

let installing: Promise<void> = Promise.resolve()

/** Ensures that these programs are installed, with apt-get if permitted. Otherwise throws an error that lists them. */
export function requirePrograms(...programs: readonly Program[]): Promise<void> {
  // One at a time: two installations would conflict over the lock and the policy file.
  const installed = installing.then(() => installMissing(programs))
  installing = installed.catch(() => {}) // its own caller gets the error
  return installed
}

async function installMissing(programs: readonly Program[]): Promise<void> {
  const found = await Promise.all(programs.map(findProgram))
  const packages = programs
    .filter((_, index) => found[index] === undefined)
    .map((name) => debianPackages[name])
  if (packages.length === 0) return
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(
      `Missing on this machine: ${packages.join(', ')} (Debian's package names). Install them, or start Docker, ` +
        'or set REDIS_URL, RABBITMQ_URL and KAFKA_BOOTSTRAP_SERVERS to running brokers.',
    )
  }
  console.error(`Installing with apt-get: ${packages.join(', ')}`)
  await withoutStartingServices(() => aptInstall(packages))
  // Debian also enables a service for the next boot; systemd is absent in containers.
  if (existsSync('/run/systemd/system')) {
    const services = packages.filter((name) => name.endsWith('-server'))
    if (services.length > 0) await run('systemctl', ['disable', ...services])
  }
}

async function aptInstall(packages: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['update', '--quiet'], env)
  await run(
    'apt-get',
    ['install', '--yes', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...packages],
    env,
  )
}

/** Debian starts a service when its package is installed, unless /usr/sbin/policy-rc.d answers 101. */
async function withoutStartingServices(install: () => Promise<void>): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d'
  if (existsSync(policy)) return install()
  await writeFile(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    await install()
  } finally {
    await rm(policy)
  }
}
