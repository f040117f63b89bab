import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { cacheFolder } from './cache-folder.ts'
import { requirePrograms } from './programs.ts'
import { run } from './run.ts'

const suites = { 12: 'bookworm', 13: 'trixie' } as const

export type DebianRelease = keyof typeof suites

const packages: Record<DebianRelease, readonly string[]> = {
  12: ['redis-server', 'rabbitmq-server'],
  13: ['redis-server', 'valkey-server', 'rabbitmq-server'],
}

/** @returns the root folder of a Debian release with its brokers. It is unpacked once and kept in the user's cache. */
export async function debianRoot(release: DebianRelease): Promise<string> {
  const folder = join(cacheFolder(), `debian-${release}`)
  if (existsSync(folder)) return folder
  if (process.getuid?.() !== 0)
    throw new Error(`Debian ${release} is unpacked with debootstrap, which needs root. Run as root.`)
  await requirePrograms('debootstrap')
  console.error(`Unpacking Debian ${release} (400 MB) into ${folder}`)
  await mkdir(dirname(folder), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-`)
  try {
    const include = `--include=${packages[release].join()}`
    const mirror = 'http://deb.debian.org/debian'
    await run('debootstrap', ['--variant=minbase', include, suites[release], unfinished, mirror])
    // Renaming is atomic, so an interrupted download is never mistaken for a complete one.
    await rename(unfinished, folder)
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true })
    throw error
  }
  return folder
}

/** Mounts for this process alone, and they end with it. `exec` keeps the process id and the signals. */
const enter = `
for folder in /proc /dev "$1"; do mkdir -p "$0$folder" && mount --rbind "$folder" "$0$folder" || exit 1; done
shift
exec chroot "$0" "$@"`

/** @returns the command that runs a program in another root folder, where the temporary files keep their paths. */
export function inRoot(
  root: string,
  command: string,
  args: readonly string[],
): readonly [command: string, args: readonly string[]] {
  return ['unshare', ['--mount', '/bin/sh', '-c', enter, root, tmpdir(), command, ...args]]
}
