import type { EventFilter } from '../browsing/index.ts'
import { type FilterKeys, filterLineOf } from './filter-line.ts'
import { text, time } from './values.ts'

const KEYS: FilterKeys<EventFilter> = {
  id: ['eventId', text],
  type: ['eventTypes', (given) => given.split(',')],
  aggregate: ['aggregateId', text],
  'aggregate-type': ['aggregateType', text],
  correlation: ['correlationId', text],
  causation: ['causationId', text],
  tenant: ['tenantId', text],
  since: ['occurredSince', time],
  before: ['occurredBefore', time],
  text: ['text', text],
}

export const EVENT_KEYS = Object.keys(KEYS).join(', ')

export const eventLine = filterLineOf<EventFilter>(KEYS, 'leave out --filter for all events')
