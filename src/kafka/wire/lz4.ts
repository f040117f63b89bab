import { Slices } from '../../kit/slices.ts'
import { Output } from './output.ts'

const MAGIC = 0x184d2204
const IS_UNCOMPRESSED = 0x8000_0000
const HAS_BLOCK_CHECKSUM = 0b1_0000
const HAS_CONTENT_SIZE = 0b1000
const HAS_DICTIONARY = 0b1
const MIN_MATCH = 4
const STEPS_PER_CHECK = 4096

/**
 * Decompresses an LZ4 frame (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md), in slices. The decompressor
 * of the client library has no limit. The checksum of the record batch covers the frame, so those of the frame are not
 * read.
 */
export async function unlz4(bytes: Buffer, limit: number): Promise<Buffer> {
  if (bytes.length < 7 || bytes.readUInt32LE(0) !== MAGIC) throw new Error('the content is no LZ4 frame')
  const flags = bytes[4] ?? 0
  if ((flags & HAS_DICTIONARY) !== 0) throw new Error('the LZ4 frame needs a dictionary')
  const checksum = (flags & HAS_BLOCK_CHECKSUM) === 0 ? 0 : 4
  const output = new Output(bytes.length * 2, limit)
  const slices = new Slices()
  for (let at = 7 + ((flags & HAS_CONTENT_SIZE) === 0 ? 0 : 8); ; ) {
    if (at + 4 > bytes.length) throw new Error('the compressed content is truncated')
    const header = bytes.readUInt32LE(at)
    if (header === 0) return output.written
    const start = at + 4
    const end = start + (header & 0x7fff_ffff)
    if (end > bytes.length) throw new Error('the compressed content is truncated')
    if (header >= IS_UNCOMPRESSED) output.append(bytes, start, end)
    else await decodeBlock(bytes.subarray(start, end), output, slices)
    if (slices.isOver) await slices.next()
    at = end + checksum
  }
}

async function decodeBlock(block: Buffer, output: Output, slices: Slices): Promise<void> {
  let steps = 0
  for (let at = 0; at < block.length; ) {
    at = decodeSequence(block, at, output)
    steps += 1
    if (steps % STEPS_PER_CHECK === 0 && slices.isOver) await slices.next()
  }
}

/** Decodes literals, and the match that follows unless the block ends. @returns the position of the next sequence. */
function decodeSequence(block: Buffer, at: number, output: Output): number {
  const token = block[at] ?? 0
  const literals = readLength(block, at + 1, token >>> 4)
  const end = literals.next + literals.length
  output.append(block, literals.next, end)
  if (end === block.length) return end
  if (end + 2 > block.length) throw new Error('the compressed content is truncated')
  const match = readLength(block, end + 2, token & 0xf)
  output.repeat(block.readUInt16LE(end), match.length + MIN_MATCH)
  return match.next
}

function readLength(
  block: Buffer,
  at: number,
  first: number,
): { readonly length: number; readonly next: number } {
  let length = first
  let next = at
  if (first < 15) return { length, next }
  for (let byte = 255; byte === 255; next += 1) {
    const read = block[next]
    if (read === undefined) throw new Error('the compressed content is truncated')
    byte = read
    length += byte
  }
  return { length, next }
}
