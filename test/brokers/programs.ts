import { existsSync } from 'node:fs'
import { access, constants, readdir, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { run } from './run.ts'

const debianPackages = {
  'redis-server': 'redis-server',
  'rabbitmq-server': 'rabbitmq-server',
  epmd: 'erlang-base',
  java: 'default-jre-headless',
  mvn: 'maven',
  initdb: 'postgresql',
  pgbouncer: 'pgbouncer',
  debootstrap: 'debootstrap',
  pip: 'python3-pip',
  chromium: 'chromium',
  zsh: 'zsh',
  fish: 'fish',
} as const

/** Where Debian keeps the programs of each PostgreSQL version; they are not on the PATH. */
const postgresFolder = '/usr/lib/postgresql'

/** Packages whose installation enables a service, besides those whose name says so. */
const services = ['postgresql', 'pgbouncer']

export type Program = keyof typeof debianPackages

/** @returns the path of an executable: an absolute path as it is, otherwise from the PATH or the system's folders. */
export async function findProgram(name: string): Promise<string | undefined> {
  const path = (process.env['PATH'] ?? '').split(delimiter)
  const folders = [...path, '/usr/sbin', '/usr/bin', ...(await postgresFolders())]
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

/** The newest version first. */
async function postgresFolders(): Promise<readonly string[]> {
  if (!existsSync(postgresFolder)) return []
  const versions = await readdir(postgresFolder)
  return versions.toSorted((a, b) => Number(b) - Number(a)).map((name) => join(postgresFolder, name, 'bin'))
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
        'or set REDIS_URL, RABBITMQ_URL, KAFKA_BOOTSTRAP_SERVERS and POSTGRES_URL to running servers.',
    )
  }
  console.error(`Installing with apt-get: ${packages.join(', ')}`)
  await withoutStartingServices(() => aptInstall(packages))
  // Debian also enables a service for the next boot; systemd is absent in containers.
  if (existsSync('/run/systemd/system')) {
    const enabled = packages.filter((name) => name.endsWith('-server') || services.includes(name))
    if (enabled.length > 0) await run('systemctl', ['disable', ...enabled])
  }
}

let isUpdated = false

async function aptInstall(packages: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  if (!isUpdated) await run('apt-get', ['update', '--quiet'], env)
  isUpdated = true
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
