import type { DeadLetter } from '../../../bus/index.ts'
import type { RequestContext } from '../../context.ts'
import { HttpError } from '../../http-error.ts'
import type { Done } from '../../route.ts'
import { LetterReads } from './letter-reads.ts'
import { LETTER_MS, queueOf } from './letter-view.ts'

/** The dead letter of the path. @throws HttpError 404, or 403 if the viewer may not do that to its group. */
export async function letterFor(context: RequestContext, verb: 'operate' | 'change'): Promise<DeadLetter> {
  // A viewer without the role anywhere learns nothing about what exists.
  const letter = await context.ask(queueOf(context).get(context.param('id')), LETTER_MS)
  context.require(verb, letter?.consumerGroup)
  if (letter === undefined) throw goneError(context)
  return letter
}

/** Gives the dead letter back to the handlers that failed. */
export async function replayLetter(context: RequestContext): Promise<Done> {
  const letter = await letterFor(context, 'operate')
  const isReplayed = await context.ask(queueOf(context).replay(letter.id, context.actor), LETTER_MS)
  if (!isReplayed) throw goneError(context)
  context.state(LetterReads.key).forget(context.busName)
  return {
    goTo: replayLink(context, letter, letter.eventId),
    text: `Replayed ${letter.eventType ?? 'the message'} to ${destinationOf(letter)}.`,
  }
}

/** Removes the dead letter. */
export async function purgeLetter(context: RequestContext): Promise<Done> {
  const letter = await letterFor(context, 'change')
  context.field('why')
  const removed = await context.ask(queueOf(context).purge(letter.id, context.actor), LETTER_MS)
  if (removed === 0) throw goneError(context)
  context.state(LetterReads.key).forget(context.busName)
  return {
    goTo: context.links.bus(['dead-letters']),
    text: `Purged the dead letter of ${letter.eventType ?? 'a message'} ${letter.aggregateId ?? ''}.`,
  }
}

/** The page that shows the outcome of a replay. */
export function replayLink(
  { links }: RequestContext,
  { id, consumerGroup, handlerNames, replayCount }: DeadLetter,
  eventId: string | undefined,
): string {
  if (eventId === undefined) return links.bus(['dead-letters'])
  return links.bus(['replays', eventId], {
    group: consumerGroup,
    handler: handlerNames?.join(', '),
    letter: id,
    replays: replayCount,
  })
}

export function destinationOf({ consumerGroup, handlerNames = [] }: DeadLetter): string {
  const group = consumerGroup === undefined ? 'the group of this bus' : `group ${consumerGroup}`
  return handlerNames.length === 0 ? group : `${group}, handler ${handlerNames.join(', ')}`
}

export function goneError(context: RequestContext): HttpError {
  return new HttpError(
    404,
    `There is no dead letter ${context.param('id').slice(0, 200)}: it was replayed or purged meanwhile.`,
  )
}
