import type { DeadLetterFilter, DeadLetterQueue } from '../../../bus/index.ts'
import type { RequestContext } from '../../context.ts'
import type { Job } from '../../jobs/job.ts'
import { Jobs } from '../../jobs/jobs.ts'
import type { Verb } from '../../viewer.ts'
import { LetterReads } from './letter-reads.ts'

export type BulkAction = 'replay' | 'purge' | 'archive'

/** A change of many dead letters, in words. */
export interface BulkVerb {
  readonly action: BulkAction
  readonly label: string
  /** Such as `replayed`. */
  readonly done: string
  /** What a viewer needs. */
  readonly role: Verb
  readonly needsReason: boolean
}

const VERBS: readonly BulkVerb[] = [
  { action: 'replay', label: 'Replay', done: 'replayed', role: 'operate', needsReason: false },
  { action: 'archive', label: 'Archive', done: 'archived', role: 'change', needsReason: false },
  { action: 'purge', label: 'Purge', done: 'purged', role: 'change', needsReason: true },
]

export function bulkVerb(action: string): BulkVerb | undefined {
  return VERBS.find((verb) => verb.action === action)
}

interface Bulk {
  readonly queue: DeadLetterQueue
  readonly filter: DeadLetterFilter
  readonly line: string
  readonly limit?: number
  readonly ratePerSecond?: number
  readonly expected: number | undefined
  readonly isDryRun: boolean
}

/** Starts a job that changes the dead letters that match, and records how it ended. */
export function startBulk(
  context: RequestContext,
  { action, label, done }: BulkVerb,
  { queue, filter, line, limit, ratePerSecond, expected, isDryRun }: Bulk,
): Job {
  const { busName: bus, viewer, why, activity } = context
  const about = {
    ...{ bus, action: `deadLetters.${action}`, verb: label, done, filter: line, group: filter.consumerGroup },
    ...{ expected, ratePerSecond, isDryRun, by: viewer.name, why },
  }
  const reads = context.state(LetterReads.key)
  const job = context.state(Jobs.key).start(about, ({ signal, onProgress }) => {
    const options = {
      ...{ signal, onProgress, dryRun: isDryRun },
      ...(isDryRun ? {} : context.actor),
      ...(limit !== undefined && { limit }),
      ...(ratePerSecond !== undefined && { ratePerSecond }),
    }
    switch (action) {
      case 'replay':
        return queue.replayAll(filter, options)
      case 'purge':
        return queue.purge(filter, options)
      case 'archive':
        return queue.archive(filter, (letters) => context.archive(letters), options)
    }
  })
  void job.ended.then(async () => {
    reads.forget(bus)
    if (!isDryRun) await activity.start(endOf(job)).catch(() => undefined) // the bus has recorded it, too
  })
  return job
}

/** The entry of the record that says how a job has ended. */
function endOf({ id, about, state, progress, error }: Job) {
  const { action, bus, by, why, filter, done } = about
  const { changed } = progress
  const how =
    state === 'done' ? '' : state === 'cancelled' ? ' The job was cancelled.' : ` ${error?.message ?? ''}`
  return {
    ...{ action, bus, by, why, target: { filter, job: id }, count: changed },
    state: state === 'failed' ? ('failed' as const) : ('done' as const),
    text: `The job has ${done} ${changed}.${how}`,
  }
}
