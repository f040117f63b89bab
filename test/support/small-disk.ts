import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guard } from '../brokers/guard.ts'
import { run } from '../brokers/run.ts'

/** Why a file system cannot be mounted; undefined if it can. */
export const obstacleToMounting = process.getuid?.() === 0 ? undefined : 'needs root, to mount a file system'

/** A file system of its own that can be filled up. */
export class SmallDisk implements AsyncDisposable {
  readonly folder: string
  readonly #disarm: () => void

  static async mount(megabytes: number): Promise<SmallDisk> {
    const folder = await mkdtemp(join(tmpdir(), 'eventspine-disk-'))
    await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0777`, 'tmpfs', folder])
    return new SmallDisk(folder)
  }

  private constructor(folder: string) {
    this.folder = folder
    this.#disarm = guard('umount --lazy -- "$1"; rmdir -- "$1"', folder)
  }

  /** Leaves this much room. */
  async fill(leaveBytes: number): Promise<void> {
    const { bsize, bavail } = await statfs(this.folder)
    await writeFile(this.#ballast, Buffer.alloc(Math.max(0, bsize * bavail - leaveBytes)))
  }

  async makeRoom(): Promise<void> {
    await rm(this.#ballast)
  }

  get #ballast(): string {
    return join(this.folder, 'ballast')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disarm()
    await run('umount', ['--lazy', this.folder])
    await rm(this.folder, { recursive: true })
  }
}
