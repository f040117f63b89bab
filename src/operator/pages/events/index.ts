import type { Route } from '../../route.ts'
import { eventPage } from './event-page.ts'
import { listPage } from './list-page.ts'

/** The past events of a bus. Reading them joins no group, and changes nothing on the broker. */
export const events: readonly Route[] = [
  { method: 'GET', path: '/:bus/events', verb: 'see', handle: listPage },
  { method: 'GET', path: '/:bus/events/:event', verb: 'see', handle: eventPage },
]
