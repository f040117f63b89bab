import { Slices } from '../../kit/slices.ts'
import { Output, TooLargeError } from './output.ts'

/** Clients in Java frame Snappy in chunks: https://github.com/xerial/snappy-java */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER = 16
/** No element of the format expands its own bytes by more: a copy of 64 bytes takes 3. */
const MAX_RATIO = 22
const STEPS_PER_CHECK = 4096

/**
 * Decompresses Snappy (https://github.com/google/snappy/blob/main/format_description.txt), in slices. The decompressor
 * of the client library allocates the size that the content declares, without a limit.
 */
export async function unsnappy(bytes: Buffer, limit: number): Promise<Buffer> {
  if (!bytes.subarray(0, XERIAL.length).equals(XERIAL)) {
    const output = new Output(declaredSize(bytes, limit).size, limit)
    await decodeBlock(bytes, output, limit)
    return output.written
  }
  const output = new Output(bytes.length * 2, limit)
  for (let at = XERIAL_HEADER; at < bytes.length; ) {
    if (at + 4 > bytes.length) throw new Error('the compressed content is truncated')
    const end = at + 4 + bytes.readUInt32BE(at)
    if (end > bytes.length) throw new Error('the compressed content is truncated')
    await decodeBlock(bytes.subarray(at + 4, end), output, limit)
    at = end
  }
  return output.written
}

/** Reads the size that a block declares, before anything is allocated for it. */
function declaredSize(block: Buffer, limit: number): { readonly size: number; readonly start: number } {
  let size = 0
  for (let index = 0; index < 5; index += 1) {
    const byte = block[index]
    if (byte === undefined) break
    size += (byte & 0x7f) * 2 ** (7 * index)
    if (byte >= 0x80) continue
    if (size > limit) throw new TooLargeError(`the content declares ${size} bytes, more than ${limit}`)
    if (size > block.length * MAX_RATIO)
      throw new Error(`the content declares ${size} bytes, which it cannot hold`)
    return { size, start: index + 1 }
  }
  throw new Error('the compressed content is truncated')
}

async function decodeBlock(block: Buffer, output: Output, limit: number): Promise<void> {
  const { size, start } = declaredSize(block, limit)
  const end = output.length + size
  const slices = new Slices()
  let steps = 0
  for (let at = start; at < block.length; ) {
    at = decodeElement(block, at, output)
    if (output.length > end) throw new Error('the content is longer than it declares')
    steps += 1
    if (steps % STEPS_PER_CHECK === 0 && slices.isOver) await slices.next()
  }
  if (output.length !== end) throw new Error('the content is shorter than it declares')
}

/** @returns the position of the next element. */
function decodeElement(block: Buffer, at: number, output: Output): number {
  const tag = block[at] ?? 0
  const kind = tag & 0b11
  if (kind === 0) {
    const code = tag >>> 2
    const lengthBytes = Math.max(0, code - 59)
    const start = at + 1 + lengthBytes
    const length = (lengthBytes === 0 ? code : littleEndian(block, at + 1, lengthBytes)) + 1
    output.append(block, start, start + length)
    return start + length
  }
  if (kind === 1) {
    output.repeat(((tag >>> 5) << 8) | littleEndian(block, at + 1, 1), ((tag >>> 2) & 0b111) + 4)
    return at + 2
  }
  const distanceBytes = kind === 2 ? 2 : 4
  output.repeat(littleEndian(block, at + 1, distanceBytes), (tag >>> 2) + 1)
  return at + 1 + distanceBytes
}

function littleEndian(bytes: Buffer, at: number, count: number): number {
  if (at + count > bytes.length) throw new Error('the compressed content is truncated')
  return bytes.readUIntLE(at, count)
}
