import { table, when } from '../../components.ts'
import type { RequestContext } from '../../context.ts'
import { foreign, type Html, html } from '../../html.ts'
import { quoted } from '../../quoted.ts'
import { cut } from '../letters/format.ts'
import { type EventRow, placeQuery } from './event-row.ts'

/** A list of events, each with the link to its page. */
export function eventTable(context: RequestContext, rows: readonly EventRow[]): Html {
  const { links } = context
  const filterLink = (key: string, value: string | undefined) =>
    value === undefined
      ? foreign(undefined)
      : html`<a href="${links.bus(['events'], { filter: `${key}:${quoted(value)}` })}">${foreign(cut(value, 60))}</a>`
  return table<EventRow>({
    caption: 'Events',
    rows,
    id: ({ position }) => `event-${position}`,
    columns: [
      { label: 'Event', kind: 'main', cell: (row) => eventLink(context, row) },
      { label: 'Time', kind: 'narrow', cell: ({ at }) => when(at) },
      { label: 'Aggregate', cell: ({ aggregateId }) => filterLink('aggregate', aggregateId) },
      {
        label: 'Correlation',
        kind: 'wide',
        cell: ({ correlationId }) =>
          html`<span class="mono small">${filterLink('correlation', correlationId)}</span>`,
      },
    ],
  })
}

/** The type of an event, which leads to its page if the event can be named. */
export function eventLink({ links }: RequestContext, row: EventRow, bus?: string): Html {
  const { eventId, eventType } = row
  const name = foreign(cut(eventType ?? 'Not an event', 80))
  if (eventId === undefined) return name
  const path = ['events', eventId]
  const href =
    bus === undefined ? links.bus(path, placeQuery(row)) : links.to([bus, ...path], placeQuery(row))
  return html`<a href="${href}">${name}</a>`
}
