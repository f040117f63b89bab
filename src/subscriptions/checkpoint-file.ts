import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

const SUFFIX = '.checkpoint'
/** Maximum length of a file name. All common file systems accept it, even with the suffix of a temporary file. */
const MAX_NAME = 200

/**
 * Returns the file name for the name of a checkpoint, which may be any text. A name that is not a valid file name is
 * hashed.
 */
export function checkpointFileName(name: string): string {
  const encoded = name.isWellFormed() ? encodeURIComponent(name) : ''
  if (name.isWellFormed() && encoded.length <= MAX_NAME) return `${encoded}${SUFFIX}`
  const hash = createHash('sha256').update(Buffer.from(name, 'utf16le')).digest('hex')
  // No encoded name contains an equals sign.
  return `=${hash}${SUFFIX}`
}

export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Replaces the file in one step that survives a power failure: the text and the directory entry are flushed. The
 * temporary file must not exist yet, so that a link with its name is not followed.
 */
export async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(8).toString('hex')}.new`
  try {
    await writeNew(temporary, text)
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(dirname(file))
}

/** Creates the directory, and removes temporary files that a crash left behind. */
export async function prepareDirectory(file: string): Promise<void> {
  const directory = dirname(file)
  await mkdir(directory, { recursive: true })
  const left = (await readdir(directory)).filter(
    (name) => name.startsWith(`${basename(file)}.`) && name.endsWith('.new'),
  )
  for (const name of left) await rm(join(directory, name), { force: true })
}

async function writeNew(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx')
  try {
    await handle.writeFile(text)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

async function syncDirectory(directory: string): Promise<void> {
  // Windows cannot open a directory.
  if (process.platform === 'win32') return
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
