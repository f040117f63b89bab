import { NoAnswerError } from './answers.ts'
import type { PooledPostgresClient } from './client.ts'

/** The part of `pg`'s connection that COPY needs. */
interface CopyConnection {
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
  sendCopyFail(message: string): void
  readonly stream: {
    readonly writableNeedDrain: boolean
    once(event: 'drain' | 'close', listener: () => void): unknown
    off(event: 'drain' | 'close', listener: () => void): unknown
    readonly destroyed: boolean
  }
}

/** Maximum bytes of one message. */
const CHUNK_LENGTH = 64 * 1024

/** A `COPY ... FROM STDIN` statement, in the form that `pg` accepts for statements that write the protocol themselves. */
class CopyStatement {
  readonly #text: string
  readonly #chunks: readonly string[]
  readonly #settle: PromiseWithResolvers<void>
  readonly #onProgress: () => void
  #hasFailed = false

  /** @param onProgress - called after each part that the server has accepted. */
  constructor(
    text: string,
    chunks: readonly string[],
    settle: PromiseWithResolvers<void>,
    onProgress: () => void,
  ) {
    this.#text = text
    this.#chunks = chunks
    this.#settle = settle
    this.#onProgress = onProgress
  }

  submit(connection: CopyConnection): void {
    connection.query(this.#text)
  }

  handleCopyInResponse(connection: CopyConnection): void {
    void this.#send(connection)
  }

  handleCommandComplete(): void {}

  /** The client does not call `handleReadyForQuery` after this. */
  handleError(error: unknown): void {
    this.#hasFailed = true
    this.#settle.reject(error)
  }

  handleReadyForQuery(): void {
    this.#settle.resolve()
  }

  async #send(connection: CopyConnection): Promise<void> {
    let parts: string[] = []
    let length = 0
    for (const chunk of this.#chunks) {
      if (this.#hasFailed || connection.stream.destroyed) return
      parts.push(chunk)
      length += chunk.length
      if (length < CHUNK_LENGTH) continue
      connection.sendCopyFromChunk(Buffer.from(parts.join('')))
      parts = []
      length = 0
      if (connection.stream.writableNeedDrain) await drained(connection.stream)
      this.#onProgress()
    }
    if (this.#hasFailed) return
    if (parts.length > 0) connection.sendCopyFromChunk(Buffer.from(parts.join('')))
    connection.endCopyFrom()
  }
}

function drained(stream: CopyConnection['stream']): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    stream.once('drain', done)
    stream.once('close', done)
  })
}

/** @throws the server's error if it refuses the data; NoAnswerError if it accepts nothing for `answerTimeoutMs`. */
export async function copyInto(
  client: PooledPostgresClient,
  text: string,
  chunks: readonly string[],
  answerTimeoutMs: number,
): Promise<void> {
  const settle = Promise.withResolvers<void>()
  const isLimited = answerTimeoutMs !== Number.POSITIVE_INFINITY
  const giveUp = () => settle.reject(new NoAnswerError(answerTimeoutMs))
  const silence = isLimited ? setTimeout(giveUp, answerTimeoutMs) : undefined
  const statement = new CopyStatement(text, chunks, settle, () => silence?.refresh())
  // A client of `pg` accepts any object with a `submit` method.
  void client.query(statement as never)
  try {
    await settle.promise
  } finally {
    clearTimeout(silence)
  }
}

/** A row in the text form of COPY. */
export function appendText(fields: readonly (string | null)[]): string {
  return `${fields.map((field) => (field === null ? '\\N' : escaped(field))).join('\t')}\n`
}

const SPECIAL = /[\\\n\r\t]/
const ALL_SPECIAL = /[\\\n\r\t]/g
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

const escaped = (text: string): string =>
  SPECIAL.test(text) ? text.replace(ALL_SPECIAL, (character) => ESCAPES[character] ?? character) : text
