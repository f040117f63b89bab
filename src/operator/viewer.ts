/**
 * What a viewer may do. `see`: names, numbers, errors. `read`: payloads and headers of events. `operate`: pause and resume
 * groups and subscriptions, replay dead letters. `change`: edit, purge, move, delete and rebuild. No verb contains another.
 */
export type Verb = 'see' | 'read' | 'operate' | 'change'

export const VERBS: readonly Verb[] = ['see', 'read', 'operate', 'change']

/** The bus, and if there is one the consumer group, that a verb is about. Without a bus: the page as a whole. */
export interface Place {
  readonly bus: string | undefined
  readonly group: string | undefined
}

/** Who looks at the page, as `authorize` says. */
export interface Viewer {
  /** Shown in the page, and recorded with each change. */
  readonly name: string
  /** The verbs that the viewer has everywhere, or a function that decides it for each bus and group. */
  readonly roles: readonly Verb[] | ((place: Place) => readonly Verb[])
}

/** True if the viewer has the verb at the place. */
export function mayDo(viewer: Viewer, verb: Verb, place: Place): boolean {
  const { roles } = viewer
  return (typeof roles === 'function' ? roles(place) : roles).includes(verb)
}
