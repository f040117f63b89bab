import type { Meter } from '@opentelemetry/api'
import type { BrowsedEvent, BrowseQuery, FindOptions, TailQuery } from '../../browsing/index.ts'
import type { GroupInfo, SeekOutcome } from '../../transport/admin.ts'
import type { GroupPause } from '../../transport/control.ts'
import type { Actor } from '../audit.ts'
import type { EventExplanation, ExplainOptions } from '../event-explanation.ts'
import type { Finding } from '../finding.ts'
import type { ConsumerInfo } from '../presence/report.ts'
import type { Topology } from './topology.ts'

/** Where the metrics of the groups go. */
export interface ObserveOptions {
  /** Meter to use. Default: the option `meter` of the bus, or else OpenTelemetry's global one. */
  readonly meter?: Meter
}

/** Options of a pause. */
export interface PauseOptions extends Actor {
  /** How long to wait at most until no handler of the group runs, in milliseconds. Default 0: not at all. */
  readonly waitMs?: number
}

/** Options of a seek. */
export interface SeekOptions extends Actor {
  /** Only count the events behind the place. Default false. */
  readonly dryRun?: boolean
}

/**
 * What an operator can ask a bus, the same on every broker. The bus connects if necessary. It does not have to consume, and
 * it joins no group. On an `InMemoryEventBus` there are no groups, because handlers run inside `publish`.
 */
export interface BusAdmin {
  /**
   * All consumer groups of the stream, exchange or topic, sorted by name, also those that no process consumes for.
   * @throws ConnectionError
   */
  groups(): Promise<readonly GroupInfo[]>

  /** One consumer group. @throws GroupNotFoundError if no such group has ever consumed. @throws ConnectionError */
  group(name: string): Promise<GroupInfo>

  /**
   * The living consumers, of all groups or of one, in all processes, as they report themselves about every ten seconds
   * (`presenceIntervalMs`). A consumer that stops is gone at once, a killed one after three intervals. Consumers of other
   * libraries, and those whose user may not store a report, are not among them; `groups` counts these, too.
   *
   * @returns sorted by group and name.
   * @throws GroupNotFoundError if no such group has ever consumed. @throws ConnectionError
   * @example
   * for (const { name, programVersion, handlers } of await bus.admin.consumers()) {
   *   console.log(name, programVersion, handlers)
   * }
   */
  consumers(group?: string): Promise<readonly ConsumerInfo[]>

  /**
   * Who publishes what, which handlers get it, and what they publish in turn, as the living processes report it. A process
   * reports the event types that it has published since its start, so one that has published nothing yet is no producer.
   * @throws ConnectionError
   */
  topology(): Promise<Topology>

  /**
   * Deletes a consumer group: its position, its unhandled events and its waiting retries. Its dead letters stay. A
   * consumer that starts later creates the group again. The change is recorded; see the option `audit`.
   *
   * @returns the group as it was.
   * @throws GroupNotFoundError if there is no such group.
   * @throws GroupInUseError, with nothing deleted, if a member of the group lives, or the group is paused.
   * @throws ConnectionError
   */
  deleteGroup(name: string, actor?: Actor): Promise<GroupInfo>

  /**
   * Pauses a consumer group in all processes, until `resume`: within about two seconds, its consumers start no further
   * handler. Running handlers end and their events are settled; all other events wait. A consumer that starts meanwhile stays
   * paused, too. A further call replaces `by` and `why`. The change is recorded; see the option `audit`.
   *
   * With `waitMs` it also waits until no handler of the group runs any more, according to what the consumers report. A
   * handler that continues after its timeout is not noticed.
   *
   * @returns the pause, which `groups` and the health of each consumer show.
   * @throws GroupStillRunningError if handlers run, or may run, after `waitMs`. The group stays paused.
   * @throws GroupNotFoundError if no such group has ever consumed.
   * @throws ConfigError if groups cannot be paused here. @throws ConnectionError
   */
  pause(group: string, options?: PauseOptions): Promise<GroupPause>

  /**
   * Ends the pause of a consumer group. Its consumers continue within about two seconds. The change is recorded.
   *
   * @returns false if the group was not paused.
   * @throws GroupNotFoundError if there is no such group. @throws ConnectionError
   */
  resume(group: string, actor?: Actor): Promise<boolean>

  /**
   * Moves a consumer group to a place in the log: it gets the events behind it, and no others, whether it has handled them or
   * not. Events that its consumers had taken and not settled are forgotten; replays, waiting retries and dead letters stay.
   * Other groups are not affected. The change is recorded.
   *
   * @param to - `'first'`, `'last'`, a time, or the `position` of an event, behind which the group continues.
   * @throws GroupInUseError, with nothing changed, if a member of the group lives.
   * @throws GroupNotFoundError if there is no such group. @throws ConfigError for a text that is no position.
   * @throws HistoryUnavailableError on RabbitMQ, whose queues forget. @throws ConnectionError
   */
  seek(group: string, to: Date | string, options?: SeekOptions): Promise<SeekOutcome>

  /**
   * Past events, in the order of a direction, page by page as they are read. Reading changes nothing on the broker.
   *
   * @throws HistoryUnavailableError if nothing keeps past events: on RabbitMQ without `journal`, and on an
   * `InMemoryEventBus` without `keepLastEvents`.
   * @throws ConfigError for a wrong query. @throws ConnectionError
   * @example
   * for await (const { eventType, storedAt } of bus.admin.browse({ filter: { aggregateId: 'Order-7' } })) {
   *   console.log(storedAt, eventType)
   * }
   */
  browse(query?: BrowseQuery): AsyncIterable<BrowsedEvent>

  /** The newest event with an id; undefined if there is none among those that were read. It fails as `browse` does. */
  find(eventId: string, options?: FindOptions): Promise<BrowsedEvent | undefined>

  /**
   * Where an event is: when and where it was published, how far each consumer group is with it, its dead letters, and what it
   * caused. Both searches are bounded, and report how far they went. What the broker does not know is `unknown`, with a remark.
   * It changes nothing on the broker.
   *
   * @throws ConfigError for a wrong option. @throws ConnectionError
   * @example
   * const { published, groups } = await bus.admin.explain(eventId)
   * for (const { group, state, attempts } of groups) console.log(group, state, attempts)
   */
  explain(eventId: string, options?: ExplainOptions): Promise<EventExplanation>

  /**
   * Events that are published from now on, until the caller leaves the loop or the signal aborts. The broker gives every
   * event to its groups as before. On RabbitMQ, a slow reader misses events if more than 10,000 wait for it.
   * @throws ConfigError for a wrong query. @throws ConnectionError
   */
  tail(query?: TailQuery): AsyncIterable<BrowsedEvent>

  /**
   * Checks the broker for what would lose events or stop the bus: versions, settings, rights, names, clocks, groups without a
   * consumer, dead letters. It uses a connection of its own, so that this bus neither connects nor creates anything, and
   * leaves the broker as it was. If there is no connection, the only finding says why. In memory there is nothing to check.
   *
   * @throws ConfigError if the transport has no checks.
   * @example
   * for await (const { level, text, remedy } of bus.admin.diagnose()) if (level !== 'ok') console.log(level, text, remedy)
   */
  diagnose(): AsyncIterable<Finding>

  /**
   * Reports all consumer groups as OpenTelemetry gauges with each collection of metrics, also groups without a consumer, until
   * the returned function is called. One process for each stream, exchange or topic is enough. Call it after the SDK is
   * registered.
   * @throws ConnectionError
   */
  observe(options?: ObserveOptions): Promise<() => void>
}
