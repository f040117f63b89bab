import type { EventFilter } from '../../../browsing/index.ts'
import { EVENT_KEYS, eventLine } from '../../../filter-line/index.ts'
import { filterForm } from '../../components.ts'
import type { FilterOfQuery, RequestContext } from '../../context.ts'
import { type Html, html } from '../../html.ts'

export type GivenFilter = FilterOfQuery<EventFilter>

/** The filter line of the query. Only a viewer who may read payloads may search in them. */
export function filterOf(context: RequestContext): GivenFilter {
  const given = context.filter(eventLine)
  if (given.filter?.text === undefined || context.can('read')) return given
  return {
    ...given,
    filter: undefined,
    problem: 'The filter text searches payloads: this needs the role read.',
  }
}

/** The form of the filter, above a list of events. */
export function filterBox({ links }: RequestContext, section: string, { text, problem }: GivenFilter): Html {
  return html`<div class="filtering">${filterForm({
    action: links.bus([section]),
    text,
    problem,
    placeholder: 'type:OrderCreated aggregate:Order-7 since:1h',
    label: 'Filter of the listed events',
  })}<p class="quiet small">Keys: ${EVENT_KEYS}.${text !== '' && html` <a href="${links.bus([section])}">Clear the filter</a>`}</p></div>`
}
