import { type Meter, metrics } from '@opentelemetry/api'
import {
  type BrowsedEvent,
  type BrowseQuery,
  browseEvents,
  type FindOptions,
  type FollowLog,
  findEvent,
  type OpenScan,
  type Scan,
  type TailQuery,
  tailEvents,
} from '../../browsing/index.ts'
import { nonEmptyText, objectWith, optional, resolveOptions, suggestion } from '../../kit/options.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupInfo, MessageScan, TransportAdmin } from '../../transport/admin.ts'
import { GroupInUseError, GroupNotFoundError } from '../errors.ts'
import type { EventExplanation, ExplainOptions, LetterSource } from '../event-explanation.ts'
import { type MessagingTarget, targetAttributes } from '../telemetry/bus-spans.ts'
import { type MessageReader, readPages } from './browsed-message.ts'
import type { BusAdmin, DeleteGroupOptions, ObserveOptions } from './bus-admin.ts'
import { explainEvent } from './explain.ts'
import { observeGroups } from './group-metrics.ts'

export interface OperatorParts {
  readonly transport: TransportAdmin
  readonly logger: Logger
  readonly reader: MessageReader
  readonly target: MessagingTarget
  readonly meter: Meter | undefined
  readonly letters: LetterSource
}

const aMeter = objectWith('a Meter of OpenTelemetry', 'createObservableGauge', 'addBatchObservableCallback')

/** The operator's calls over a transport. */
export class Operator implements Omit<BusAdmin, 'diagnose'> {
  readonly #transport: TransportAdmin
  readonly #parts: OperatorParts

  constructor(parts: OperatorParts) {
    this.#parts = parts
    this.#transport = parts.transport
  }

  observe(options: ObserveOptions = {}): Promise<() => void> {
    const defaults = { meter: this.#parts.meter }
    const { meter } = resolveOptions('admin.observe', options, defaults, { meter: optional(aMeter) })
    const end = observeGroups(
      meter ?? metrics.getMeter('eventspine'),
      targetAttributes(this.#parts.target),
      () => this.groups(),
    )
    return Promise.resolve(end)
  }

  browse(query: BrowseQuery = {}): AsyncIterable<BrowsedEvent> {
    return browseEvents(this.#open, query)
  }

  find(eventId: string, options: FindOptions = {}): Promise<BrowsedEvent | undefined> {
    return findEvent(this.#open, eventId, options)
  }

  explain(eventId: string, options: ExplainOptions = {}): Promise<EventExplanation> {
    const { transport, letters } = this.#parts
    return explainEvent({ open: this.#open, transport, letters }, eventId, options)
  }

  tail(query: TailQuery = {}): AsyncIterable<BrowsedEvent> {
    const follow: FollowLog = async (aggregateId, signal) =>
      this.#read(await this.#transport.follow(aggregateId, signal))
    return tailEvents(follow, query)
  }

  readonly #open: OpenScan = async (request) => this.#read(await this.#transport.scan(request))

  #read({ total, pages }: MessageScan): Scan {
    return { total, pages: readPages(pages, this.#parts.reader) }
  }

  groups(): Promise<readonly GroupInfo[]> {
    return this.#transport.groups()
  }

  async group(name: string): Promise<GroupInfo> {
    const groups = await this.groups()
    const found = groups.find((group) => group.name === name)
    if (found !== undefined) return found
    const known = groups.map((group) => group.name)
    throw new GroupNotFoundError(name, known.length === 0 ? ' (there are none)' : suggestion(name, known))
  }

  async deleteGroup(name: string, options: DeleteGroupOptions = {}): Promise<GroupInfo> {
    const defaults = { by: undefined as string | undefined, reason: undefined as string | undefined }
    const rules = { by: optional(nonEmptyText), reason: optional(nonEmptyText) }
    const { by, reason } = resolveOptions('admin.deleteGroup', options, defaults, rules)
    const group = await this.group(name)
    if (!(await this.#transport.deleteGroup(name))) throw new GroupInUseError(name, group.members)
    const { lag, retriesWaiting } = group
    this.#parts.logger.warn('consumer group deleted', {
      consumerGroup: name,
      lag,
      retriesWaiting,
      by,
      reason,
    })
    return group
  }
}
