import fc from 'fast-check'
import { it } from 'vitest'
import { digestOf, type FoundLetter, fuzzBus, fuzzRun } from '../support/fuzz-bus.ts'
import { capturedRedisFields } from '../wire/captured.ts'
import { hostileBody, hostilePairs, type Pair } from '../wire/hostile-messages.ts'
import { connectClient, createBus, freshPrefix } from './scene.ts'

/** The fields of an entry; the body, if any, is one of them. */
const entries: fc.Arbitrary<readonly Pair[]> = fc
  .tuple(hostilePairs(capturedRedisFields()), fc.option(hostileBody, { freq: 1 }))
  .map(([fields, body]) =>
    body === null ? fields : fields.map((pair) => (isPayload(pair) ? ([pair[0], body] as const) : pair)),
  )
  // Redis refuses an entry without fields.
  .filter((fields) => fields.length > 0)

const isPayload = ([name]: Pair) => name.equals(Buffer.from('payload'))
const digestOfFields = (fields: readonly Buffer[]) => digestOf(...fields)
/** Names and values that dead-lettering adds to those of the entry. */
const ADDED = 2 * 14

it(
  `handles, skips or dead-letters hostile messages, and leaves their neighbors intact: ${fuzzRun.title}`,
  async () => {
    const streamPrefix = freshPrefix()
    const client = await connectClient()
    const digests: string[] = []
    await fuzzBus({
      messages: entries,
      // Leases are not the subject. On a busy machine a short lease expires, and a repeated event counts as skipped twice.
      createBus: (options) => createBus({ streamPrefix, pendingIdleMs: 60_000, ...options }),
      async send(messages) {
        await Promise.all(
          messages.map((fields) => {
            const flat = fields.flat()
            digests.push(digestOfFields(flat))
            return client.sendCommand(['XADD', `${streamPrefix}:stream`, '*', ...flat])
          }),
        )
      },
      forge: ({ headers, body }, forged) =>
        [...Object.entries(headers), ['payload', body] as const, ...forged].map(
          ([name, value]) => [Buffer.from(name), Buffer.from(value)] as const,
        ),
      bodyOf: (fields) => fields.findLast(isPayload)?.[1] ?? Buffer.alloc(0),
      digests: () => Promise.resolve(digests),
      async deadLetters(group) {
        const letters: FoundLetter[] = []
        let from = '-'
        for (;;) {
          const page = await client
            .withTypeMapping({ 36: Buffer })
            .sendCommand(['XRANGE', `${streamPrefix}:stream_dlq`, from, '+', 'COUNT', '500'])
          if (!Array.isArray(page) || page.length === 0) return letters
          for (const [id, fields] of page as [Buffer, Buffer[]][]) {
            from = `(${id}`
            const added = new Map<string, string>()
            for (let at = fields.length - ADDED; at < fields.length; at += 2)
              added.set(String(fields[at]), String(fields[at + 1]))
            if (added.get('dlq_consumer_group') !== group) continue
            letters.push({
              digest: digestOfFields(fields.slice(0, -ADDED)),
              reason: added.get('dlq_reason'),
              errorMessage: added.get('dlq_error_message'),
            })
          }
        }
      },
    })
  },
  fuzzRun.timeoutMs,
)
