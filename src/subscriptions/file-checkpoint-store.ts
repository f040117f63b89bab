import { join } from 'node:path'
import { checkpointFileName, prepareDirectory, readIfThere, replaceFile } from './checkpoint-file.ts'
import { type CheckpointStore, checkPrevious } from './checkpoint-store.ts'

/**
 * Keeps each checkpoint in a file of its own. A file is written beside the old one, flushed to the disk and put in its
 * place, so a crash at any moment leaves the old position or the new one. For one process at a time.
 */
export class FileCheckpointStore implements CheckpointStore {
  readonly #directory: string
  readonly #prepared = new Set<string>()

  /** @param directory - made when it is not there. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** @throws Error when the file is there and holds no position. */
  async load(name: string): Promise<number | undefined> {
    const file = this.#fileOf(name)
    const text = await readIfThere(file)
    if (text === undefined) return undefined
    const position = parsePosition(text)
    if (position === undefined) {
      throw new Error(`${file} holds no position: ${JSON.stringify(text.slice(0, 40))}`)
    }
    return position
  }

  async save(name: string, position: number, previous: number | undefined): Promise<void> {
    checkPrevious(name, await this.load(name), position, previous)
    const file = this.#fileOf(name)
    if (!this.#prepared.has(file)) await prepareDirectory(file)
    this.#prepared.add(file)
    await replaceFile(file, `${position}\n`)
  }

  #fileOf(name: string): string {
    return join(this.#directory, checkpointFileName(name))
  }
}

/** Only decimal digits: `Number` would read `0x10` and `1e3`, which nobody writes, as positions. */
function parsePosition(text: string): number | undefined {
  const position = /^\d{1,16}\s*$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(position) ? position : undefined
}
