import type { ExportedLetter } from '../../../bus/index.ts'
import { deadLetterLine } from '../../../filter-line/index.ts'
import type { RequestContext } from '../../context.ts'
import { HttpError } from '../../http-error.ts'
import type { Masker } from '../../mask.ts'
import { hiddenIn, maskedBody } from '../../masked-body.ts'
import type { Page } from '../../route.ts'
import { gonePage } from './letter-page.ts'
import { checkRole, LETTER_MS, queueOf } from './letter-view.ts'

/** The body of a dead letter. A browser never shows it, whatever it contains. */
export async function bodyDownload(context: RequestContext): Promise<Response | Page> {
  const id = context.param('id')
  const letter = await context.ask(queueOf(context).get(id), LETTER_MS)
  if (letter === undefined) return gonePage(context, id)
  checkRole(context, 'read', letter.consumerGroup)
  return download(Buffer.from(maskedBody(letter.body, context.mask)), 'dead-letter.bin')
}

/** The dead letters that match as JSON lines, which `dlq import` reads. Read while the browser takes them. */
export function exportDownload(context: RequestContext): Promise<Response> {
  const queue = queueOf(context)
  const { filter = {}, problem } = context.filter(deadLetterLine)
  if (problem !== undefined) throw new HttpError(400, problem)
  checkRole(context, 'read', filter.consumerGroup)
  const stop = new AbortController()
  const letters = queue.export(filter, { signal: AbortSignal.any([stop.signal, context.signal]) })
  const lines = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await letters.next()
        if (done) controller.close()
        else controller.enqueue(Buffer.from(`${JSON.stringify(maskedExport(value, context.mask))}\n`))
      },
      cancel: async () => {
        stop.abort()
        await letters.return()
      },
    },
    { highWaterMark: 0 },
  )
  return Promise.resolve(download(lines, 'dead-letters.jsonl'))
}

function maskedExport(letter: ExportedLetter, mask: Masker): ExportedLetter {
  const { body, bodyBase64, headers, fields, ...rest } = letter
  const bytes = body === undefined ? Buffer.from(bodyBase64 ?? '', 'base64') : Buffer.from(body)
  const masked = Buffer.from(maskedBody(bytes, mask))
  const hidden = hiddenIn(bytes, mask)
  const text = (value: string) => mask.text(value, hidden)
  return {
    ...rest,
    headers: mask.headers(headers),
    ...(body === undefined ? { bodyBase64: masked.toString('base64') } : { body: masked.toString('utf8') }),
    fields: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, text(value)])),
  }
}

function download(body: ConstructorParameters<typeof Response>[0], name: string): Response {
  return new Response(body, {
    headers: {
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="${name}"`,
    },
  })
}
