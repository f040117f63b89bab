import { age, numberText } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { HttpError } from '../../http-error.ts'
import type { Job } from '../../jobs/job.ts'
import { Jobs } from '../../jobs/jobs.ts'
import type { Done, Page } from '../../route.ts'
import { bulkVerb } from './bulk-verbs.ts'
import { trail } from './format.ts'
import { progressBar, sentenceOf, titleOf } from './job-view.ts'
import { checkRole } from './letter-view.ts'

/** One job: how far it is, and how it ended. */
export function jobPage(context: RequestContext): Promise<Page> {
  const { links } = context
  const job = jobOf(context)
  const { about } = job
  return Promise.resolve({
    title: `${about.verb} job`,
    section: 'dead-letters',
    ...(job.isRunning && { refreshSeconds: 1 }),
    main: html`${trail([{ href: links.bus(['dead-letters']), text: 'Dead letters' }])}
<h1>${titleOf(job)}</h1>
<section class="card" aria-label="State of the job"><div class="body">
<p class="lead">${sentenceOf(job)}</p>
${job.isRunning && progressBar(job)}
${errorOf(context, job)}
${job.state === 'running' && mayCancel(context, job) && cancelForm(context, job)}
${report(job)}
</div></section>
<p>${!job.isRunning && html`<a href="${links.bus(['dead-letters'], { filter: about.filter })}">Dead letters that still match</a> · `}<a href="${links.bus(['activity'])}">Activity</a></p>`,
  })
}

/** Ends the job after the batch in progress. */
export function cancelJob(context: RequestContext): Promise<Done> {
  const job = jobOf(context)
  if (!mayCancel(context, job)) throw new HttpError(403, 'You may not cancel this job.')
  if (!job.cancel(context.viewer.name)) throw new HttpError(409, 'The job has ended.')
  return Promise.resolve({
    goTo: context.links.bus(['jobs', job.id]),
    text: 'The job ends after the batch in progress. The other dead letters are kept.',
  })
}

function jobOf(context: RequestContext): Job {
  const job = context.state(Jobs.key).get(context.busName, context.param('job'))
  if (job === undefined) {
    throw new HttpError(404, 'There is no such job. Jobs are kept until the program of the page ends.')
  }
  checkRole(context, 'see', job.about.group)
  return job
}

function mayCancel(context: RequestContext, { about }: Job): boolean {
  const verb = bulkVerb(about.action.replace('deadLetters.', ''))
  return verb !== undefined && context.can(verb.role, about.group)
}

function cancelForm({ links }: RequestContext, job: Job): Html {
  return html`<form method="post" action="${links.bus(['jobs', job.id, 'cancel'])}"><button class="danger">Cancel the job</button> <span class="quiet">nothing is lost: what was not ${job.about.done} stays</span></form>`
}

function errorOf({ mask }: RequestContext, { error }: Job): Html {
  return error === undefined
    ? html``
    : html`<pre class="error-text" role="region" tabindex="0" aria-label="Error">${foreign(mask.text(error.message).slice(0, 2000))}</pre>`
}

function report({ about, progress, startedAt, endedAt }: Job): Html {
  const { scanned, total, matched, changed, failed } = progress
  const seconds = ((endedAt ?? new Date()).getTime() - startedAt.getTime()) / 1000
  return html`<dl class="facts">
<dt>Matched so far</dt><dd>${numberText(matched)}</dd>
<dt class="capital">${about.done}</dt><dd>${numberText(changed)}</dd>
${failed > 0 && html`<dt>Could not be ${about.done}</dt><dd>${numberText(failed)}</dd>`}
<dt>Read</dt><dd>${numberText(scanned)} of ${numberText(Math.max(total, scanned))}</dd>
<dt>Rate</dt><dd>${about.ratePerSecond === undefined ? 'no limit' : `at most ${numberText(about.ratePerSecond)} per second`}</dd>
<dt>Started</dt><dd>${age(startedAt)} ago by ${foreign(about.by)}, ${seconds < 10 ? seconds.toFixed(1) : numberText(Math.round(seconds))} s</dd>
<dt>Reason</dt><dd>${foreign(about.why)}</dd>
</dl>`
}
