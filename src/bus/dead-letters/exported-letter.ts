import { ConfigError } from '../../errors.ts'
import { readReason, readReplays, writeImported } from '../../transport/dead-letter-fields.ts'
import type { StoredDeadLetter } from '../../transport/transport.ts'

/**
 * A dead letter as JSON: `export` and `archive` write it, `import` reads it, on any broker. The headers and the body are those
 * of the original message.
 */
export interface ExportedLetter {
  /** Version of this format. */
  readonly version: 1
  /** The id that the dead letter had. An import gives it another one. */
  readonly id: string
  readonly headers: Readonly<Record<string, string>>
  /** The body, if it is UTF-8; exactly one of `body` and `bodyBase64` is set. */
  readonly body?: string
  readonly bodyBase64?: string
  /** Why the message is a dead letter, and how often it was replayed: the fields `dlq_*` of eventsource-py and of eventspine. */
  readonly fields: Readonly<Record<string, string>>
  readonly source?: string
}

/** Fields that stores add to a message. */
const ADDED: ReadonlySet<string> = new Set(['original_message_id', 'retry_count', 'replay_handlers'])

export function exportedLetter({ id, message, source, ...letter }: StoredDeadLetter): ExportedLetter {
  const bytes = Buffer.from(message.body as Uint8Array)
  const text = bytes.toString('utf8')
  const headers = Object.entries(message.headers).filter(
    ([name]) => !ADDED.has(name) && !name.startsWith('dlq_'),
  )
  return {
    version: 1,
    id,
    headers: Object.fromEntries(headers),
    ...(Buffer.from(text).equals(bytes) ? { body: text } : { bodyBase64: bytes.toString('base64') }),
    fields: writeImported(letter),
    ...(source !== undefined && { source }),
  }
}

/** @throws ConfigError if the value is no exported dead letter. */
export function importedLetter(call: string, value: unknown, place: string): Omit<StoredDeadLetter, 'id'> {
  const faults = faultsOf(value)
  if (faults.length > 0)
    throw new ConfigError(
      call,
      faults.map((fault) => `${place}: ${fault}`),
    )
  // The line above has checked the form.
  const { headers, body, bodyBase64 = '', fields, source } = value as ExportedLetter
  return {
    message: { headers, body: body ?? Buffer.from(bodyBase64, 'base64') },
    reason: readReason(fields),
    ...readReplays(fields),
    source,
  }
}

function faultsOf(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return ['is not an exported dead letter']
  const { version, headers, body, bodyBase64, fields, source }: Readonly<Record<string, unknown>> = {
    ...value,
  }
  if (version !== 1) return [`version must be 1, got ${JSON.stringify(version)}`]
  const faults: string[] = []
  if (!isTexts(headers)) faults.push('headers must be an object of texts')
  if (!isTexts(fields)) faults.push('fields must be an object of texts')
  if ((typeof body === 'string') === (typeof bodyBase64 === 'string')) {
    faults.push('it must have either body or bodyBase64')
  }
  if (source !== undefined && typeof source !== 'string') faults.push('source must be a text')
  return faults
}

function isTexts(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string')
  )
}
