import { appendFileSync, createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** Lines that are kept in memory before they are written. */
const BUFFERED = 1000

/** Lines that are read at once. */
const BATCH = 20_000

/** What writers and followers report, in files: the memory of a run does not grow with the number of its events. */
export class Records implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'eventspine-feed-check-'))
  readonly #buffers = new Map<string, string[]>()

  /** Adds a line of fields to a file. */
  add(file: string, ...fields: readonly (string | number)[]): void {
    const lines = this.#buffers.get(file) ?? []
    lines.push(`${fields.join('\t')}\n`)
    this.#buffers.set(file, lines)
    if (lines.length >= BUFFERED) this.#write(file, lines)
  }

  /** The lines of a file, many at a time. */
  async *read(file: string): AsyncIterable<readonly string[]> {
    this.#write(file, this.#buffers.get(file) ?? [])
    let batch: string[] = []
    for await (const line of createInterface({ input: createReadStream(join(this.#folder, file)) })) {
      batch.push(`${line}\n`)
      if (batch.length < BATCH) continue
      yield batch
      batch = []
    }
    if (batch.length > 0) yield batch
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #write(file: string, lines: readonly string[]): void {
    appendFileSync(join(this.#folder, file), lines.join(''))
    this.#buffers.set(file, [])
  }
}
