import { EventspineError } from '../errors.ts'
import { html } from './html.ts'
import { BusAwayError, HttpError } from './http-error.ts'
import type { Masker } from './mask.ts'
import type { Page } from './route.ts'

/** Codes of errors that say that the broker or the store is away. */
const AWAY = new Set([
  'CONNECTION_FAILED',
  'CONNECTION_LOST',
  'AUTHENTICATION_FAILED',
  'TOPOLOGY_CONFLICT',
  'STORE_UNAVAILABLE',
])

/** What the viewer sees of an error: its reason if it was foreseen, and never more. */
export function errorPage(error: Error, mask: Masker): Page {
  if (error instanceof BusAwayError || (error instanceof EventspineError && AWAY.has(error.code))) {
    return awayPage(error, mask)
  }
  const status = statusOf(error)
  const isForeseen = error instanceof HttpError || error instanceof EventspineError
  const text = isForeseen
    ? mask.text(error.message)
    : 'The program that serves this page has logged the error.'
  const title = TITLES[status] ?? 'Error'
  return {
    title,
    section: undefined,
    status,
    main: html`<h1>${title}</h1><p class="lead">${text}</p>`,
  }
}

/** The broker is away: why, what to do, and that the page tries again. */
function awayPage(error: Error, mask: Masker): Page {
  return {
    title: 'The broker does not answer',
    section: undefined,
    status: 503,
    refreshSeconds: 2,
    main: html`<h1>The broker does not answer</h1>
<p class="lead">${mask.text(error.message)}</p>
<p>This page tries again by itself.</p>`,
  }
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Wrong request',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Wrong method',
  408: 'Too slow',
  409: 'Not possible now',
  413: 'Too large',
  415: 'Wrong type',
  421: 'Unknown host',
  500: 'Error',
}

function statusOf(error: Error): number {
  if (error instanceof HttpError) return error.status
  if (!(error instanceof EventspineError)) return 500
  if (error.code.endsWith('NOT_FOUND')) return 404
  return error.code === 'CONFIG_INVALID' ? 400 : 409
}
