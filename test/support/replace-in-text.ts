/** Replaces text in bytes that need not all be text. The replacement must have the same length. */
export function replaceInText(chunk: Buffer, pattern: RegExp, replacement: string): Buffer {
  return Buffer.from(chunk.toString('latin1').replace(pattern, replacement), 'latin1')
}
