import type { RequestContext } from '../../context.ts'
import type { Route } from '../../route.ts'
import type { Verb } from '../../viewer.ts'
import { bulkPage, startBulkJob } from './bulk-page.ts'
import type { BulkAction } from './bulk-verbs.ts'
import { purgeLetter, replayLetter } from './change-letter.ts'
import { bodyDownload, exportDownload } from './downloads.ts'
import { checkEdit, editPage, replayEdited } from './edit-page.ts'
import { cancelJob, jobPage } from './job-page.ts'
import { letterPage } from './letter-page.ts'
import { listPage } from './list-page.ts'
import { replayPage } from './replay-page.ts'

const letter = '/:bus/dead-letters/:id'

const readAndChange = ['read', 'change'] as const

/** The form that starts a bulk change, and what starts it. */
function bulkRoutes(action: BulkAction, verb: Verb): readonly Route[] {
  const path = `/:bus/bulk/${action}`
  return [
    { method: 'GET', path, verb, handle: (context) => bulkPage(context, action) },
    {
      ...{ method: 'POST' as const, path, verb, action: `deadLetters.${action}` },
      target: ({ form }: RequestContext) => ({
        filter: form.get('filter') ?? '',
        dryRun: form.get('dryRun') === 'on',
      }),
      handle: (context: RequestContext) => startBulkJob(context, action),
    },
  ]
}

/**
 * The dead letters of a bus. A viewer needs the role for the bus, which is checked by the frame, and for the consumer group of
 * the dead letter, which the pages check when they have read it.
 */
export const letters: readonly Route[] = [
  { method: 'GET', path: '/:bus/dead-letters', verb: 'see', handle: listPage },
  { method: 'GET', path: letter, verb: 'see', handle: letterPage },
  { method: 'GET', path: `${letter}/body`, verb: 'read', handle: bodyDownload },
  {
    method: 'POST',
    path: `${letter}/replay`,
    verb: 'operate',
    action: 'deadLetters.replay',
    handle: replayLetter,
  },
  {
    method: 'POST',
    path: `${letter}/purge`,
    verb: 'change',
    action: 'deadLetters.purge',
    handle: purgeLetter,
  },
  { method: 'GET', path: `${letter}/edit`, verb: readAndChange, handle: editPage },
  { method: 'POST', path: `${letter}/check`, verb: readAndChange, handle: checkEdit },
  {
    method: 'POST',
    path: `${letter}/edit`,
    verb: readAndChange,
    action: 'deadLetters.edit',
    handle: replayEdited,
  },
  { method: 'GET', path: '/:bus/replays/:event', verb: 'see', handle: replayPage },
  ...bulkRoutes('replay', 'operate'),
  ...bulkRoutes('archive', 'change'),
  ...bulkRoutes('purge', 'change'),
  { method: 'GET', path: '/:bus/jobs/:job', verb: 'see', handle: jobPage },
  { method: 'POST', path: '/:bus/jobs/:job/cancel', verb: 'see', action: 'jobs.cancel', handle: cancelJob },
  { method: 'GET', path: '/:bus/export/dead-letters', verb: 'read', handle: exportDownload },
]
