import type { DeadLetter } from '../../../bus/index.ts'
import { ConfigError, EventspineError } from '../../../errors.ts'
import { badge, card } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { HttpError } from '../../http-error.ts'
import { MASK } from '../../mask.ts'
import type { Done, Page } from '../../route.ts'
import { destinationOf, goneError, letterFor, replayLink } from './change-letter.ts'
import { changesBetween, type FieldChange, jsonText, parsePayload, withHidden } from './edit-diff.ts'
import { cut, trail } from './format.ts'
import { LetterReads } from './letter-reads.ts'
import { checkRole, LETTER_MS, queueOf } from './letter-view.ts'

/** A larger payload is edited with the command line. */
const MAX_TEXT = 256 * 1024

type Payload = Readonly<Record<string, unknown>>

/** A dead letter with its payload, as it is and as it may be shown. */
interface Editable {
  readonly letter: DeadLetter
  readonly eventType: string
  readonly raw: Payload
  readonly shown: unknown
}

/** What the viewer has entered, and what is wrong with it. */
interface Draft {
  readonly text: string
  readonly payload: Payload | undefined
  readonly problem: string | undefined
  readonly changes: readonly FieldChange[]
}

/** The form in which a payload is edited. */
export async function editPage(context: RequestContext): Promise<Page> {
  const editable = await editableOf(context)
  const text = jsonText(editable.shown, 2)
  return formPage(context, editable, { text, payload: undefined, problem: undefined, changes: [] })
}

/** Checks what was entered, and shows the lines that differ. Changes nothing. */
export async function checkEdit(context: RequestContext): Promise<Page> {
  const editable = await editableOf(context)
  const draft = await checked(context, editable)
  return formPage(context, editable, draft)
}

/** Replays the edited event. */
export async function replayEdited(context: RequestContext): Promise<Done | Page> {
  const editable = await editableOf(context)
  const draft = await checked(context, editable)
  // The viewer continues in the form.
  if (draft.payload === undefined) return { ...formPage(context, editable, draft), status: 409 }
  const { letter } = editable
  const replay = queueOf(context).replayEdited(letter.id, { payload: draft.payload }, context.actor)
  const replayed = await context.ask(replay, LETTER_MS)
  if (replayed === undefined) throw goneError(context)
  context.state(LetterReads.key).forget(context.busName)
  const paths = draft.changes.map(({ path }) => path)
  return {
    goTo: replayLink(context, { ...letter, replayCount: -1 }, replayed.eventId),
    text: `Edited ${cut(paths.join(', '), 200)}, and replayed it as event ${replayed.eventId} to ${destinationOf(letter)}.`,
  }
}

async function editableOf(context: RequestContext): Promise<Editable> {
  const letter = await letterFor(context, 'change')
  checkRole(context, 'read', letter.consumerGroup)
  const stored = queueOf(context).storedEvent(letter)
  if (stored === undefined) throw new HttpError(409, 'The body is no event, so it cannot be edited here.')
  const { data: raw, eventType } = stored
  const { value: shown } = context.mask.payload(raw, eventType)
  if (letter.body.byteLength > MAX_TEXT) {
    throw new HttpError(409, 'The payload is too large to be edited here. Use eventspine dlq edit.')
  }
  return { letter, eventType, raw, shown }
}

async function checked(context: RequestContext, { letter, eventType, raw, shown }: Editable): Promise<Draft> {
  const text = context.form.get('payload') ?? ''
  const refused = (problem: string, changes: readonly FieldChange[] = []): Draft => ({
    ...{ text, payload: undefined, problem, changes },
  })
  const read = readText(text)
  if ('problem' in read) return refused(read.problem)
  const found = withHidden(read.payload, { raw, shown })
  if ('misplaced' in found) {
    return refused(
      `${found.misplaced}: ${MASK} stands for a hidden value, and is only possible where it was.`,
    )
  }
  // It is the object that was read, with other values.
  const payload = found.value as Payload
  const after = { raw: payload, shown: context.mask.payload(payload, eventType).value }
  const changes = changesBetween({ raw, shown }, after)
  if (changes.length === 0) return refused('Nothing is changed yet.')
  const problem = await schemaProblem(context, letter.id, payload)
  return problem === undefined ? { text, payload, problem, changes } : refused(problem, changes)
}

function readText(text: string): { readonly payload: Payload } | { readonly problem: string } {
  if (text.length > MAX_TEXT) return { problem: 'The payload is too large to be edited here.' }
  try {
    const value = parsePayload(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { payload: { ...value } }
    return { problem: 'The payload must be a JSON object.' }
  } catch (thrown) {
    const reason = thrown instanceof SyntaxError ? thrown.message : 'it is nested too deeply'
    return { problem: `The payload is not JSON: ${cut(reason, 300)}.` }
  }
}

/** What the schema says against the payload, in its own words; undefined if nothing. */
async function schemaProblem(
  context: RequestContext,
  id: string,
  payload: Payload,
): Promise<string | undefined> {
  try {
    const found = await context.ask(
      queueOf(context).replayEdited(id, { payload }, { dryRun: true }),
      LETTER_MS,
    )
    if (found === undefined) throw goneError(context)
    return undefined
  } catch (thrown) {
    if (thrown instanceof ConfigError) {
      return `The class of this event is unknown to this page, so the payload cannot be checked. Subscribe to it, register it, or name its module.`
    }
    if (thrown instanceof EventspineError && !thrown.retryable) return context.mask.text(thrown.message)
    throw thrown
  }
}

function formPage(context: RequestContext, { letter }: Editable, draft: Draft): Page {
  const { links } = context
  const { text, problem, changes, payload } = draft
  const isValid = payload !== undefined
  const path = (action: string) => links.bus(['dead-letters', letter.id, action])
  return {
    title: 'Edit and replay',
    section: 'dead-letters',
    main: html`${trail([
      { href: links.bus(['dead-letters']), text: 'Dead letters' },
      { href: links.bus(['dead-letters', letter.id]), text: cut(letter.id, 60) },
    ])}
<h1>Edit and replay</h1>
<p class="lead">The edited payload becomes a new event, caused by the event of this dead letter, for ${foreign(cut(destinationOf(letter), 300))}, and for nobody else. The dead letter is removed when the new event is stored.</p>
${problem !== undefined && html`<p class="callout ${changes.length === 0 ? 'warn' : 'bad'}" id="problem" role="alert">${foreign(cut(problem, 2000))}</p>`}
${changes.length > 0 && diff(changes, isValid)}
<form method="post" action="${path('check')}" class="stack">
<label class="field" for="edited"><span>Payload</span></label>
<textarea id="edited" name="payload" rows="${Math.min(22, text.split('\n').length + 2)}" spellcheck="false" aria-describedby="edit-hint${problem !== undefined && ' problem'}"${problem !== undefined && html` aria-invalid="true"`}>
${text}</textarea>
<p class="quiet small" id="edit-hint">${text.includes(MASK) ? `Leave ${MASK} where it stands: it keeps a hidden value.` : 'JSON. The schema of the event checks it.'}</p>
<div class="field"><label for="why">Reason <span class="hint">for the record, such as a ticket</span></label><input id="why" name="why" maxlength="500" value="${context.form.get('why') ?? ''}" autocomplete="off"></div>
<p class="verbs"><button${!isValid && html` class="primary"`}>Check and show changes</button>
${isValid && html`<button class="primary" formaction="${path('edit')}">Replay the edited event</button>`}
<a class="button" href="${links.bus(['dead-letters', letter.id])}">Cancel</a></p>
</form>`,
  }
}

/** The lines that differ, and no others. */
function diff(changes: readonly FieldChange[], isValid: boolean): Html {
  const text = (path: string, value: string) => html`${foreign(cut(path, 200))}: ${foreign(cut(value, 2000))}`
  const lines = changes
    .slice(0, 100)
    .map(({ path, before, after }) => [
      before !== undefined && html`<del>- ${text(path, before)}</del>`,
      after !== undefined && html`<ins>+ ${text(path, after)}</ins>`,
    ])
  const state = isValid ? badge('valid', 'good') : badge('not valid', 'bad')
  return card(
    'Changes',
    html`<pre class="diff" role="region" aria-label="Changes" tabindex="0">${lines}</pre>`,
    state,
  )
}
