import { join } from 'node:path'
import { checkpointFileName, prepareDirectory, readIfThere, replaceFile } from './checkpoint-file.ts'
import { type Checkpoint, type CheckpointStore, replacement } from './checkpoint-store.ts'

/**
 * Stores each checkpoint in its own file. It writes a new file, flushes it to disk and renames it over the old one, so
 * a crash leaves the old or the new position. Only one process at a time may use a directory.
 */
export class FileCheckpointStore implements CheckpointStore {
  readonly #directory: string
  readonly #prepared = new Set<string>()

  /** @param directory - created if it does not exist. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** @throws Error if the file exists but has no checkpoint. */
  async load(name: string): Promise<Checkpoint | undefined> {
    const file = this.#fileOf(name)
    const text = await readIfThere(file)
    if (text === undefined) return undefined
    const checkpoint = parseCheckpoint(text)
    if (checkpoint === undefined) {
      throw new Error(`${file} contains no position: ${JSON.stringify(text.slice(0, 40))}`)
    }
    return checkpoint
  }

  async save(name: string, checkpoint: Checkpoint, previous: number | undefined): Promise<void> {
    const replaced = replacement(name, await this.load(name), checkpoint, previous)
    const file = this.#fileOf(name)
    if (!this.#prepared.has(file)) await prepareDirectory(file)
    this.#prepared.add(file)
    await replaceFile(file, `${JSON.stringify(replaced)}\n`)
  }

  #fileOf(name: string): string {
    return join(this.#directory, checkpointFileName(name))
  }
}

/**
 * Parses the format of this release, and the plain position that older releases wrote. The position must consist of
 * decimal digits; `0x10` and `1e3` are refused.
 */
function parseCheckpoint(text: string): Checkpoint | undefined {
  const bare = /^\d{1,16}\s*$/.test(text) ? Number(text) : undefined
  if (isPosition(bare)) return { position: bare, storeId: undefined, eventId: undefined, fence: undefined }
  const value = parseJson(text)
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
