import { promisify } from 'node:util'
// A namespace, because Node.js that is too old has no zstd, and its import would fail before the check of the version.
import * as zlib from 'node:zlib'
import { unlz4 } from './lz4.ts'
import { TooLargeError } from './output.ts'
import { unsnappy } from './snappy.ts'

/** Content up to this size is decompressed at once, which takes a few milliseconds; more in the thread pool. */
const SYNC_BYTES = 1_048_576
const CHUNK_BYTES = 262_144

interface Limits {
  readonly maxOutputLength: number
  readonly chunkSize?: number
}

interface Decompressor {
  readonly sync: (bytes: Buffer, limits: Limits) => Buffer
  readonly async: (bytes: Buffer, limits: Limits) => Promise<Buffer>
}

const GZIP: Decompressor = { sync: zlib.gunzipSync, async: promisify<Buffer, Limits, Buffer>(zlib.gunzip) }
const ZSTD: Decompressor = {
  sync: (bytes, limits) => zlib.zstdDecompressSync(bytes, limits),
  async: promisify<Buffer, Limits, Buffer>(zlib.zstdDecompress),
}

/**
 * Decompresses the content of a record batch.
 *
 * @param codec - its number in the attributes of a batch.
 * @throws TooLargeError before more than `limit` bytes are held.
 */
export function decompress(codec: number, bytes: Buffer, limit: number): Buffer | Promise<Buffer> {
  switch (codec) {
    case 1:
      return unzip(GZIP, bytes, limit)
    case 2:
      return unsnappy(bytes, limit)
    case 3:
      return unlz4(bytes, limit)
    case 4:
      return unzip(ZSTD, bytes, limit)
    default:
      throw new Error(`unknown compression ${codec}`)
  }
}

function unzip({ sync, async }: Decompressor, bytes: Buffer, limit: number): Buffer | Promise<Buffer> {
  const syncBytes = Math.min(limit, SYNC_BYTES)
  if (bytes.length <= syncBytes) {
    try {
      return sync(bytes, { maxOutputLength: syncBytes })
    } catch (error) {
      if (!isTooLarge(error)) throw error
      if (syncBytes === limit) throw tooLarge(limit)
    }
  }
  return async(bytes, { maxOutputLength: limit, chunkSize: CHUNK_BYTES }).catch((error: unknown) => {
    throw isTooLarge(error) ? tooLarge(limit) : error
  })
}

function isTooLarge(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE'
}

function tooLarge(limit: number): TooLargeError {
  return new TooLargeError(`the decompressed content has more than ${limit} bytes`)
}
