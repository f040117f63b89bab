import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dataFolder } from '../brokers/data-folder.ts'
import type { UserIds } from '../brokers/native-host.ts'
import { findProgram } from '../brokers/programs.ts'
import { run } from '../brokers/run.ts'

const SOURCE = fileURLToPath(new URL('./lossy-disk.c', import.meta.url))

/** Why writes cannot be dropped; undefined if they can. */
export const obstacleToPowerCuts =
  process.platform === 'linux' && (await findProgram('cc')) !== undefined
    ? undefined
    : 'needs Linux and a C compiler, to drop what was not synced'

/** What a disk writes as a whole or not at all. */
const PAGE = 512

/**
 * A folder whose files lose at a power cut what was not synced. The processes that write to it need `env` in their environment,
 * and must be killed before the cut.
 */
export class LossyDisk implements Disposable {
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
  readonly #root: string
  readonly #kept: string

  static async create(): Promise<LossyDisk> {
    const root = mkdtempSync(join(dataFolder, 'eventspine-lossy-'))
    await run('cc', ['-shared', '-fPIC', '-O1', '-o', join(root, 'lossy-disk.so'), SOURCE, '-ldl'])
    return new LossyDisk(root)
  }

  private constructor(root: string) {
    this.#root = root
    this.folder = join(root, 'disk')
    this.#kept = join(root, 'kept')
    mkdirSync(this.folder)
    mkdirSync(this.#kept)
    const folders = { LOSSY_FOLDER: this.folder, LOSSY_KEPT: this.#kept }
    this.env = { ...folders, LD_PRELOAD: join(root, 'lossy-disk.so') }
  }

  /** Lets the processes of another user write. */
  giveTo({ uid, gid }: UserIds): void {
    chmodSync(this.#root, 0o755)
    for (const folder of [this.folder, this.#kept]) chownSync(folder, uid, gid)
  }

  /**
   * Cuts the power: each file has its content at its last sync, and of what was written after that, each sector was written
   * or not.
   * @param written - the share of sectors that were written, from 0 to 1.
   */
  cut(written: number): void {
    for (const name of filesIn(this.folder)) {
      const [file, kept] = [join(this.folder, name), join(this.#kept, name)]
      const synced = existsSync(kept) ? readFileSync(kept) : undefined
      // Nobody syncs the shared memory of SQLite's processes, which is built again from the log.
      if (name.endsWith('-shm') || (synced === undefined && written === 0)) rmSync(file)
      else writeFileSync(file, mixed(synced ?? Buffer.alloc(0), readFileSync(file), written))
    }
    this.sync()
  }

  /** Makes everything safe that is in the folder. */
  sync(): void {
    for (const name of readdirSync(this.#kept)) rmSync(join(this.#kept, name))
    for (const name of filesIn(this.folder)) copyFileSync(join(this.folder, name), join(this.#kept, name))
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true })
  }
}

/** The names of the files directly in a folder. */
const filesIn = (folder: string): readonly string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []))

function mixed(synced: Buffer, last: Buffer, written: number): Buffer {
  if (written === 0) return synced
  const result = Buffer.alloc(Math.max(synced.length, last.length))
  synced.copy(result)
  for (let at = 0; at < last.length; at += PAGE) {
    if ((randomBytes(1)[0] ?? 0) < written * 256) last.copy(result, at, at, at + PAGE)
  }
  return result
}
