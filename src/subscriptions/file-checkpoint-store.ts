import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type CheckpointStore, checkPrevious } from './checkpoint-store.ts'

/**
 * Keeps each checkpoint in a file of its own. A file is written beside the old one, flushed to the disk and put in its
 * place, so a crash at any moment leaves the old position or the new one. For one process at a time.
 */
export class FileCheckpointStore implements CheckpointStore {
  readonly #directory: string

  /** @param directory - made when it is not there. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** @throws Error when the file is there and holds no position. */
  async load(name: string): Promise<number | undefined> {
    const file = this.#fileOf(name)
    const text = await readIfThere(file)
    if (text === undefined) return undefined
    const position = Number(text)
    if (text.trim() === '' || !Number.isSafeInteger(position) || position < 0) {
      throw new Error(`${file} holds no position: ${JSON.stringify(text.slice(0, 40))}`)
    }
    return position
  }

  async save(name: string, position: number, previous: number | undefined): Promise<void> {
    checkPrevious(name, await this.load(name), position, previous)
    await mkdir(this.#directory, { recursive: true })
    const file = this.#fileOf(name)
    await writeDurably(`${file}.new`, `${position}\n`)
    await rename(`${file}.new`, file)
  }

  #fileOf(name: string): string {
    return join(this.#directory, `${encodeURIComponent(name)}.checkpoint`)
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w')
  try {
    await handle.writeFile(text)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}
