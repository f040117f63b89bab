import { statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'

/** A file system in memory that Linux provides. */
const MEMORY = '/dev/shm'
const ENOUGH_BYTES = 4 * 1024 ** 3

/**
 * Where the data of the tests' servers and SQLite files is: in memory if there is room, because the tests create hundreds
 * of queues, topics and databases, each with several fsyncs. A killed process loses no data there either.
 */
export const dataFolder = hasRoom(MEMORY) ? MEMORY : tmpdir()

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize >= ENOUGH_BYTES
  } catch {
    return false // not Linux
  }
}
