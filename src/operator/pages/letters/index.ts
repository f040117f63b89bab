import type { Route } from '../../route.ts'
import { bulkPage, startBulkJob } from './bulk-page.ts'
import { purgeLetter, replayLetter } from './change-letter.ts'
import { bodyDownload, exportDownload } from './downloads.ts'
import { checkEdit, editPage, replayEdited } from './edit-page.ts'
import { cancelJob, jobPage } from './job-page.ts'
import { letterPage } from './letter-page.ts'
import { listPage } from './list-page.ts'
import { replayPage } from './replay-page.ts'

const letter = '/:bus/dead-letters/:id'

/**
 * The dead letters of a bus. Which role a page or a change needs depends on the consumer group of the dead letter, so they
 * check it themselves.
 */
export const letters: readonly Route[] = [
  { method: 'GET', path: '/:bus/dead-letters', verb: 'see', handle: listPage },
  { method: 'GET', path: letter, verb: [], handle: letterPage },
  { method: 'GET', path: `${letter}/body`, verb: [], handle: bodyDownload },
  { method: 'POST', path: `${letter}/replay`, verb: [], action: 'deadLetters.replay', handle: replayLetter },
  { method: 'POST', path: `${letter}/purge`, verb: [], action: 'deadLetters.purge', handle: purgeLetter },
  { method: 'GET', path: `${letter}/edit`, verb: [], handle: editPage },
  { method: 'POST', path: `${letter}/check`, verb: [], handle: checkEdit },
  { method: 'POST', path: `${letter}/edit`, verb: [], action: 'deadLetters.edit', handle: replayEdited },
  { method: 'GET', path: '/:bus/replays/:event', verb: [], handle: replayPage },
  { method: 'GET', path: '/:bus/bulk/:action', verb: [], handle: bulkPage },
  {
    method: 'POST',
    path: '/:bus/bulk/:action',
    verb: [],
    action: 'deadLetters.bulk',
    target: ({ form }) => ({ filter: form.get('filter') ?? '', dryRun: form.get('dryRun') === 'on' }),
    handle: startBulkJob,
  },
  { method: 'GET', path: '/:bus/jobs/:job', verb: [], handle: jobPage },
  { method: 'POST', path: '/:bus/jobs/:job/cancel', verb: [], action: 'jobs.cancel', handle: cancelJob },
  { method: 'GET', path: '/:bus/export/dead-letters', verb: [], handle: exportDownload },
]
