import type { Route } from '../route.ts'
import { activity } from './activity.ts'
import { events } from './events/index.ts'
import { groups } from './groups.ts'
import { letters } from './letters/index.ts'
import { live } from './live/index.ts'
import { map } from './map/index.ts'
import { overview } from './overview.ts'
import { subscriptions } from './subscriptions/index.ts'

/** All routes of the page. A page is a file that exports its routes. */
export const routes: readonly Route[] = [
  ...overview,
  ...groups,
  ...letters,
  ...events,
  ...live,
  ...map,
  ...subscriptions,
  ...activity,
]
