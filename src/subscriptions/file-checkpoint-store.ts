import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type Checkpoint, type CheckpointStore, checkPrevious } from './checkpoint-store.ts'

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

  /** @throws Error when the file is there and holds no checkpoint. */
  async load(name: string): Promise<Checkpoint | undefined> {
    const file = this.#fileOf(name)
    const text = await readIfThere(file)
    if (text === undefined) return undefined
    const checkpoint = parseCheckpoint(text)
    if (checkpoint === undefined) {
      throw new Error(`${file} holds no position: ${JSON.stringify(text.slice(0, 40))}`)
    }
    return checkpoint
  }

  async save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    checkPrevious(name, await this.load(name), checkpoint, previous)
    await mkdir(this.#directory, { recursive: true })
    const file = this.#fileOf(name)
    await writeDurably(`${file}.new`, `${JSON.stringify(checkpoint)}\n`)
    await rename(`${file}.new`, file)
  }

  #fileOf(name: string): string {
    return join(this.#directory, `${encodeURIComponent(name)}.checkpoint`)
  }
}

/** Reads what this release writes, and the bare position of older ones. */
function parseCheckpoint(text: string): Checkpoint | undefined {
  const value = parseJson(text)
  if (isPosition(value)) return { position: value, storeId: undefined, eventId: undefined, fence: undefined }
  if (typeof value !== 'object' || value === null) return undefined
  const position: unknown = Reflect.get(value, 'position')
  if (!isPosition(position)) return undefined
  const fence: unknown = Reflect.get(value, 'fence')
  return {
    position,
    storeId: textOrUndefined(Reflect.get(value, 'storeId')),
    eventId: textOrUndefined(Reflect.get(value, 'eventId')),
    fence: typeof fence === 'number' ? fence : undefined,
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // the caller names the file
  }
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function textOrUndefined(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
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
