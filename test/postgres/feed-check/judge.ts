/** A writer's knowledge of the events of one append or transaction. */
export interface Fact {
  readonly kind: 'stored' | 'notStored' | 'unknown'
  readonly ids: readonly string[]
}

export interface SeenEvent {
  readonly position: number
  readonly eventId: string
  readonly eventType: string
  readonly stream: string
  readonly version: number
}

export interface FollowerHistory {
  readonly name: string
  /** All that it wants; undefined for every event. */
  readonly eventType: string | undefined
  readonly seen: readonly SeenEvent[]
}

export interface FeedHistory {
  readonly facts: readonly Fact[]
  readonly followers: readonly FollowerHistory[]
  /** The table as it is in the end, by position. */
  readonly stored: readonly SeenEvent[]
}

/** Every sentence is a broken promise. */
export function judgeFeed({ facts, followers, stored }: FeedHistory): readonly string[] {
  return [
    ...judgeWrites(facts, stored),
    ...judgeVersions(stored),
    ...followers.flatMap((one) => judgeFollower(one, stored)),
  ]
}

function judgeWrites(facts: readonly Fact[], stored: readonly SeenEvent[]): readonly string[] {
  const ids = new Set(stored.map(({ eventId }) => eventId))
  const faults: string[] = []
  if (ids.size !== stored.length) faults.push(`${stored.length - ids.size} event ids are stored twice`)
  const missing = idsOf(facts, 'stored').filter((id) => !ids.has(id))
  if (missing.length > 0)
    faults.push(`${missing.length} confirmed events are missing, the first is ${missing[0]}`)
  const undone = idsOf(facts, 'notStored').filter((id) => ids.has(id))
  if (undone.length > 0)
    faults.push(`${undone.length} events are stored that were rolled back, the first is ${undone[0]}`)
  return faults
}

const idsOf = (facts: readonly Fact[], kind: Fact['kind']) =>
  facts.filter((fact) => fact.kind === kind).flatMap((fact) => fact.ids)

function judgeVersions(stored: readonly SeenEvent[]): readonly string[] {
  const faults: string[] = []
  for (const [stream, events] of Map.groupBy(stored, (event) => event.stream)) {
    const wrong = events.find(({ version }, index) => version !== index + 1)
    if (wrong !== undefined)
      faults.push(`${stream} has version ${wrong.version} out of order at position ${wrong.position}`)
  }
  return faults
}

function judgeFollower(
  { name, eventType, seen }: FollowerHistory,
  stored: readonly SeenEvent[],
): readonly string[] {
  const wanted = stored.filter((event) => eventType === undefined || event.eventType === eventType)
  const faults: string[] = []
  const back = seen.findIndex(
    ({ position }, index) => index > 0 && position <= (seen[index - 1]?.position ?? 0),
  )
  if (back > 0) faults.push(`${name} went back to position ${seen[back]?.position}`)
  const ids = new Set(seen.map(({ eventId }) => eventId))
  if (ids.size !== seen.length) faults.push(`${name} saw ${seen.length - ids.size} events twice`)
  const lost = wanted.filter(({ eventId }) => !ids.has(eventId))
  if (lost.length > 0)
    faults.push(`${name} lost ${lost.length} of ${wanted.length} events, the first at ${lost[0]?.position}`)
  const known = new Set(wanted.map(({ eventId }) => eventId))
  const phantom = seen.filter(({ eventId }) => !known.has(eventId))
  if (phantom.length > 0) faults.push(`${name} saw ${phantom.length} events that are not stored`)
  return faults
}
