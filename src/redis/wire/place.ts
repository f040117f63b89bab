import { parseNames, placesOf, type ReplayTarget } from '../../transport/replay-headers.ts'

/** What a member of the due times says. */
export interface Place {
  readonly handlerName: string
  /** The aggregate; undefined if the message has none. */
  readonly key: string | undefined
  readonly isOrdered: boolean
}

/** What is needed of an entry that gets a place. */
export interface PlacedEntry {
  readonly message: { readonly key: string | undefined }
  readonly entryId: string
  readonly stream: { readonly key: string }
  readonly replayTarget?: ReplayTarget | undefined
}

const IN_ORDER = 'in order'

/** The member of an entry in the due times. It stays the same while an entry that keeps its order waits several times. */
export function placeOf(
  { message: { key }, entryId, stream, replayTarget }: PlacedEntry,
  handlerName: string,
  keepsOrder: boolean,
): { readonly member: string; readonly isOrdered: boolean } {
  const isOrdered = keepsOrder && key !== undefined
  const given = isOrdered ? givenPlace(replayTarget, handlerName) : undefined
  // Streams of a group may have entries with the same id.
  const fields = [`${stream.key} ${entryId}`, handlerName, ...(key === undefined ? [] : [key])]
  return { member: given ?? JSON.stringify(isOrdered ? [...fields, IN_ORDER] : fields), isOrdered }
}

/** The handler may have had another name when a message that waits got its place. */
function givenPlace(target: ReplayTarget | undefined, handlerName: string): string | undefined {
  return target?.earlier?.place ?? placesOf(target).get(handlerName)
}

export function readPlace(member: string): Place | undefined {
  const [, handlerName, key, order] = parseNames(member) ?? []
  return handlerName === undefined ? undefined : { handlerName, key, isOrdered: order === IN_ORDER }
}

/** The key of the order in which a member has a place, if it has one. */
export function orderKey(
  { waitingOrder }: { readonly waitingOrder: (group: string, handlerName: string, key: string) => string },
  group: string,
  member: string,
): string {
  const { handlerName = '', key = '' } = readPlace(member) ?? {}
  return waitingOrder(group, handlerName, key)
}
