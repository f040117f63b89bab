/** The sections of the navigation. A section is shown if a route has its path. */
export type SectionName =
  | 'overview'
  | 'groups'
  | 'dead-letters'
  | 'events'
  | 'live'
  | 'map'
  | 'subscriptions'
  | 'activity'

/** The sections, in the order of the navigation. */
export const SECTIONS: readonly Section[] = [
  { name: 'overview', label: 'Overview', key: 'o' },
  { name: 'groups', label: 'Groups', key: 'g' },
  { name: 'dead-letters', label: 'Dead letters', key: 'd' },
  { name: 'events', label: 'Events', key: 'e' },
  { name: 'live', label: 'Live', key: 'l' },
  { name: 'map', label: 'Map', key: 'm' },
  { name: 'subscriptions', label: 'Subscriptions', key: 's' },
  { name: 'activity', label: 'Activity', key: 'a' },
]

interface Section {
  readonly name: SectionName
  readonly label: string
  /** Behind `g`, it opens the section. */
  readonly key: string
}

/** The segments of a section behind the bus. */
export function sectionPath(name: SectionName): readonly string[] {
  return name === 'overview' ? [] : [name]
}
