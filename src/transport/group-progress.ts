import type { MessageHeaders } from '../codec/index.ts'
import { replayTarget } from './replay-headers.ts'

/** Messages of a group that are searched for one event, of each kind: replayed ones, and those with a long wait. */
export const MAX_SEARCHED = 1000

/** A long wait of one handler for its next attempt. */
export interface HandlerWait {
  readonly handlerName: string
  /** Attempts that have failed. */
  readonly attempts: number
  /** When the next attempt is due; undefined if the event waits behind an earlier one of its aggregate. */
  readonly dueAt: Date | undefined
}

/** How far a consumer group is with an event, as the broker knows it. */
export interface GroupProgress {
  readonly group: string
  /**
   * `waiting`: no living consumer holds it. `inFlight`: a consumer holds it. `unsettled`: one of these two, the broker does not
   * report which. `retrying`: it waits for a later attempt of a handler, see `waits`. `settled`: the group has
   * acknowledged it: its handlers have succeeded, none subscribes to its type, or it is a dead letter. `unknown`: see `remark`.
   */
  readonly state: 'waiting' | 'inFlight' | 'unsettled' | 'retrying' | 'settled' | 'unknown'
  /** The consumer that holds the event or owns its partition. */
  readonly consumer: string | undefined
  /** Attempts that have started; undefined if the broker does not store it. */
  readonly attempts: number | undefined
  /** The handlers that have succeeded, as far as an attempt that failed has stored them. */
  readonly settledHandlers: readonly string[]
  readonly waits: readonly HandlerWait[]
  /** True if the state is that of a replayed dead letter. */
  readonly isReplay: boolean
  /**
   * True if a replay of the event is not settled yet; undefined if the broker does not report it.
   */
  readonly hasOpenReplay: boolean | undefined
  /** Why something is unknown. */
  readonly remark: string | undefined
}

/** A progress of which nothing more is known. */
export function progressOf(
  group: string,
  state: GroupProgress['state'],
  more: Partial<GroupProgress> = {},
): GroupProgress {
  return {
    group,
    state,
    consumer: undefined,
    attempts: undefined,
    settledHandlers: [],
    waits: [],
    isReplay: false,
    hasOpenReplay: undefined,
    remark: undefined,
    ...more,
  }
}

export function isOfEvent(headers: MessageHeaders, eventId: string): boolean {
  return headers['event_id'] === eventId
}

/** The wait that the header of a stored copy describes. */
export function waitIn(headers: MessageHeaders, dueAt: Date | undefined): HandlerWait | undefined {
  const target = replayTarget(headers)
  const [handlerName] = target?.handlerNames ?? []
  return handlerName === undefined
    ? undefined
    : { handlerName, attempts: target?.earlier?.attempts ?? 0, dueAt }
}

/** What is not settled says more than what is: the same event may be settled and replayed. */
export function withOpenWork(
  settled: GroupProgress,
  replay: GroupProgress | undefined,
  waits: readonly HandlerWait[],
): GroupProgress {
  const isOpen = settled.state !== 'settled' && settled.state !== 'unknown'
  const current = isOpen ? settled : (replay ?? settled)
  const state = current === settled && !isOpen && waits.length > 0 ? 'retrying' : current.state
  return { ...current, state, waits, hasOpenReplay: replay !== undefined }
}
