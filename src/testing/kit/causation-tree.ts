import type { DomainEvent } from '../../events/index.ts'
import type { HandledEvent, PublishedEvent } from './records.ts'

/** The events of a run as indented lines: each event, the runs of its handlers, and the events that those published. */
export function causationTree(
  published: readonly PublishedEvent[],
  handled: readonly HandledEvent[],
  note: string | undefined,
): string {
  const lines = note === undefined ? [] : [note]
  const ids = new Set(published.map(({ event }) => event.eventId))
  const shown = new Set<PublishedEvent>()
  const isRoot = ({ event }: PublishedEvent) => event.causationId === undefined || !ids.has(event.causationId)
  const show = (publish: PublishedEvent, indent: string): void => {
    if (shown.has(publish)) return
    shown.add(publish)
    lines.push(indent + lineOf(publish))
    const { eventId } = publish.event
    const isFirst = !published.some(
      (other) => shown.has(other) && other !== publish && other.event.eventId === eventId,
    )
    if (!isFirst) return
    for (const run of handled) if (run.event.eventId === eventId) lines.push(`${indent}  ${runLine(run)}`)
    for (const next of published) if (next.event.causationId === eventId) show(next, `${indent}  `)
  }
  for (const publish of published) if (isRoot(publish)) show(publish, '')
  for (const publish of published) show(publish, '')
  return lines.length === 0 ? '(nothing was published)' : lines.join('\n')
}

function lineOf({ event, by, error }: PublishedEvent): string {
  const from = by === undefined ? '' : ` by ${by}`
  return `${nameOf(event)}${from}${error === undefined ? '' : ` — not published: ${error.message}`}`
}

function runLine({ service, handlerName, attempt, error }: HandledEvent): string {
  const outcome = error === undefined ? 'handled' : `failed: ${error.message}`
  return `-> ${service}/${handlerName} attempt ${attempt} ${outcome}`
}

function nameOf({ eventType, aggregateId }: DomainEvent): string {
  return `${eventType} of ${aggregateId}`
}
