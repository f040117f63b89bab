export {
  type BrowseProgress,
  type BrowseQuery,
  browseEvents,
  type FindOptions,
  findEvent,
  type OpenScan,
  type Scan,
  type ScanOptions,
} from './browse.ts'
export type { BrowsedEvent } from './browsed-event.ts'
export { type EventFilter, HEADERS } from './event-filter.ts'
export { type FollowLog, type TailQuery, tailEvents } from './tail.ts'
