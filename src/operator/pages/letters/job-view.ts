import { badge, card, numberText, when } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import type { Job } from '../../jobs/job.ts'
import { lettersOf } from './format.ts'

/** The jobs of a list, one line each, with their progress. */
export function jobLines({ links }: RequestContext, jobs: readonly Job[]): Html {
  if (jobs.length === 0) return html``
  const lines = jobs.map(
    (
      job,
    ) => html`<li id="job-${job.id}"><a href="${links.bus(['jobs', job.id])}">${titleOf(job)}</a> ${sentenceOf(job)}
${job.isRunning && progressBar(job)}</li>`,
  )
  return card('Jobs', html`<ul class="jobs body">${lines}</ul>`)
}

/** Such as `Replay of all that match group:billing`. */
export function titleOf({ about }: Job): Html {
  const what = about.filter === '' ? html`all dead letters` : html`<code>${foreign(about.filter)}</code>`
  return html`${about.verb} of ${what}${about.isDryRun && ' (dry run)'}`
}

export function progressBar({ progress, about }: Job): Html {
  const { changed, failed, scanned, total, matched } = progress
  const goal = about.isDryRun ? total : (about.expected ?? Math.max(matched, 1))
  const value = about.isDryRun ? scanned : changed + failed
  return html`<progress max="${Math.max(goal, value, 1)}" value="${value}" aria-label="Progress"></progress>`
}

/** One sentence: how far it is, or how it has ended. */
export function sentenceOf(job: Job): Html {
  const { about, progress, state, endedAt, cancelledBy } = job
  const { changed, matched, failed } = progress
  const goal = about.expected ?? matched
  const kept =
    failed > 0 &&
    html` ${lettersOf(failed)} could not be ${about.done}, and ${failed === 1 ? 'is' : 'are'} kept.`
  switch (state) {
    case 'running':
      return about.isDryRun
        ? html`<span role="status">counting: ${numberText(matched)} match so far</span>`
        : html`<span role="status">${about.done} ${numberText(changed)} of ${numberText(goal)}${remaining(job)}</span>`
    case 'cancelling':
      return html`<span role="status">is being cancelled after ${numberText(changed)}</span>`
    case 'cancelled':
      return html`${badge('cancelled', 'warn')} by ${foreign(cancelledBy ?? 'the end of the program')} at ${when(endedAt)}: ${about.done} ${numberText(changed)} of ${numberText(goal)}. The others are still dead letters.${kept}`
    case 'failed':
      return html`${badge('failed', 'bad')} at ${when(endedAt)} after ${numberText(changed)} of ${numberText(goal)}. What was not ${about.done} is still a dead letter.${kept}`
    case 'done':
      return about.isDryRun
        ? html`${badge('done', 'good')} at ${when(endedAt)}: ${lettersOf(matched)} would be ${about.done}. Nothing was changed.`
        : html`${badge('done', 'good')} at ${when(endedAt)}: ${about.done} ${lettersOf(changed)}.${kept}`
  }
}

/** Such as `, 50/s, 2 min left`. */
function remaining({ about, progress, startedAt }: Job): string {
  const { changed } = progress
  const seconds = (Date.now() - startedAt.getTime()) / 1000
  const rate = seconds < 1 ? 0 : changed / seconds
  if (rate === 0 || about.expected === undefined) return ''
  const left = Math.max(0, about.expected - changed) / rate
  const text = left < 120 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`
  return `, ${rate < 10 ? rate.toFixed(1) : numberText(Math.round(rate))}/s, ${text} left`
}
