/** What a viewer sees of an event, as it was published. */
export interface LiveEvent {
  readonly id: string | undefined
  readonly type: string | undefined
  readonly aggregate: string | undefined
  readonly correlation: string | undefined
  /** Milliseconds since 1970. */
  readonly at: number | undefined
  /** True if `at` is the time of the broker. */
  readonly isStored: boolean
  /** The payload, masked, as the beginning of its JSON. Only viewers who may read payloads get it. */
  readonly payload?: string
}

/** What happened in a quarter of a second. */
export interface LiveFrame {
  /** The number of events. */
  readonly fresh: number
  /** Some of them, in their order; the others are only counted. */
  readonly events: readonly LiveEvent[]
}

/** Longest frame, in bytes. */
export const MAX_FRAME_BYTES = 64_000
/** What stands around the events of a frame, in bytes, at most. */
const AROUND_BYTES = 500

/** The text of a frame for one viewer. Events that are too many for it are left out. */
export function frameText(
  { fresh, events }: LiveFrame,
  options: { readonly mayRead: boolean; readonly seen: number; readonly dropped: number },
): string {
  const { mayRead, seen, dropped } = options
  const shown: string[] = []
  let bytes = AROUND_BYTES
  for (const event of events) {
    const { payload, ...rest } = event
    const text = JSON.stringify(mayRead && payload !== undefined ? event : rest)
    bytes += Buffer.byteLength(text) + 1
    if (bytes > MAX_FRAME_BYTES) break
    shown.push(text)
  }
  return `data: {"seen":${seen},"fresh":${fresh},"dropped":${dropped},"events":[${shown.join()}]}\n\n`
}
