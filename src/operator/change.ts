import { toError } from '../errors.ts'
import type { RequestContext } from './context.ts'
import { HttpError } from './http-error.ts'
import type { ChangeRoute, Done, Page } from './route.ts'

/**
 * Makes a change between its two records. If the first one cannot be stored, nothing is changed.
 * @param permit - throws if the viewer may not do it.
 */
export async function runChange(
  route: ChangeRoute,
  context: RequestContext,
  permit: () => void,
): Promise<Response | Page> {
  const { bus, ...params } = context.params
  const base = {
    action: route.action,
    by: context.viewer.name,
    why: context.why,
    bus,
    target: { ...params, ...route.target?.(context) },
    count: 0,
    text: undefined,
  }
  try {
    permit()
  } catch (thrown) {
    await recorded(
      context.activity.start({ ...base, state: 'refused', text: toError(thrown).message }),
      UNMADE,
    )
    throw thrown
  }
  const started = await recorded(context.activity.start({ ...base, state: 'started' }), UNMADE)
  let outcome: Done | Page | Response
  try {
    outcome = await route.handle(context)
  } catch (thrown) {
    const error = toError(thrown)
    const isRefused = error instanceof HttpError && error.status === 403
    const state = isRefused ? 'refused' : 'failed'
    // The failure of the change is what the viewer must know.
    await context.activity
      .record({ ...started, state, text: context.mask.text(error.message) })
      .catch(() => undefined)
    throw thrown
  }
  if (!('goTo' in outcome)) {
    // The form is shown again, or something is downloaded.
    const isRefused = (outcome.status ?? 200) >= 400
    await recorded(context.activity.record({ ...started, state: isRefused ? 'failed' : 'done' }), MADE)
    return outcome
  }
  const { goTo, text, count = 1 } = outcome
  await recorded(context.activity.record({ ...started, state: 'done', text, count }), MADE)
  const location = `${goTo}${goTo.includes('?') ? '&' : '?'}did=${started.id}`
  return new Response(null, { status: 303, headers: { location } })
}

const UNMADE = 'The change could not be recorded, and was not made.'
const MADE = 'The change was made, but its end could not be recorded.'

/** @throws HttpError 500 with the text, which does not show why. */
async function recorded<T>(recording: Promise<T>, text: string): Promise<T> {
  try {
    return await recording
  } catch (thrown) {
    throw new HttpError(500, text, {}, thrown)
  }
}
