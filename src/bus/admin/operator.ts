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
import { ConfigError } from '../../errors.ts'
import {
  booleanOption,
  nonNegativeIntegerOrInfinity,
  objectWith,
  optional,
  resolveOptions,
  suggestion,
} from '../../kit/options.ts'
import type { GroupInfo, MessageScan, SeekOutcome, TransportAdmin } from '../../transport/admin.ts'
import type { GroupControlStore, GroupPause } from '../../transport/control.ts'
import type { PresenceStore } from '../../transport/presence.ts'
import { type Actor, type AuditTrail, actorDefaults, actorRules, currentUser } from '../audit.ts'
import { GroupInUseError, GroupNotFoundError } from '../errors.ts'
import type { EventExplanation, ExplainOptions, LetterSource } from '../event-explanation.ts'
import { readPause, writePause } from '../group-pause.ts'
import { type BusReport, type ConsumerInfo, readReport } from '../presence/report.ts'
import { type MessagingTarget, targetAttributes } from '../telemetry/bus-spans.ts'
import { awaitHalt } from './await-halt.ts'
import { type MessageReader, readPages } from './browsed-message.ts'
import type { BusAdmin, ObserveOptions, PauseOptions, SeekOptions } from './bus-admin.ts'
import { explainEvent } from './explain.ts'
import { observeGroups } from './group-metrics.ts'
import { consumersOf, type Topology, topologyOf } from './topology.ts'

export interface OperatorParts {
  readonly transport: TransportAdmin
  readonly audit: AuditTrail
  /** Undefined if groups cannot be paused. */
  readonly control: GroupControlStore | undefined
  /** Undefined if processes report nothing. */
  readonly presence: Pick<PresenceStore, 'list'> | undefined
  readonly reader: MessageReader
  readonly target: MessagingTarget
  readonly meter: Meter | undefined
  readonly letters: LetterSource
}

const aMeter = objectWith('a Meter of OpenTelemetry', 'createObservableGauge', 'addBatchObservableCallback')

const pauseDefaults = { ...actorDefaults, waitMs: 0 }
const pauseRules = { ...actorRules, waitMs: nonNegativeIntegerOrInfinity }

const seekDefaults = { ...actorDefaults, dryRun: false }
const seekRules = { ...actorRules, dryRun: booleanOption }

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

  async groups(): Promise<readonly GroupInfo[]> {
    const { control } = this.#parts
    const groups = await this.#transport.groups()
    if (control === undefined) return groups
    return Promise.all(
      groups.map(async (group) => ({ ...group, paused: readPause(await control.read(group.name)) })),
    )
  }

  async group(name: string): Promise<GroupInfo> {
    const groups = await this.groups()
    const found = groups.find((group) => group.name === name)
    if (found !== undefined) return found
    const known = groups.map((group) => group.name)
    throw new GroupNotFoundError(name, known.length === 0 ? ' (there are none)' : suggestion(name, known))
  }

  async consumers(group?: string): Promise<readonly ConsumerInfo[]> {
    const found = consumersOf(await this.#reports(), group)
    // A group without consumers is distinguished from a misspelt one.
    if (group !== undefined && found.length === 0) await this.group(group)
    return found
  }

  async topology(): Promise<Topology> {
    return topologyOf(await this.#reports())
  }

  async #reports(): Promise<readonly BusReport[]> {
    const records = (await this.#parts.presence?.list()) ?? []
    return records.flatMap(({ text, seenAt }) => readReport(text, seenAt) ?? [])
  }

  async deleteGroup(name: string, actor: Actor = {}): Promise<GroupInfo> {
    const who = checkedActor('admin.deleteGroup', actor)
    const group = await this.group(name)
    if (group.paused !== undefined) throw new GroupInUseError(name, 'paused')
    return this.#parts.audit.record(
      { action: 'groups.delete', target: { group: name }, ...who },
      async (changed) => {
        if (!(await this.#transport.deleteGroup(name))) throw new GroupInUseError(name, group.members)
        changed((group.lag ?? 0) + (group.inFlight ?? 0))
        return group
      },
    )
  }

  async pause(name: string, options: PauseOptions = {}): Promise<GroupPause> {
    const { waitMs, ...actor } = resolveOptions('admin.pause', options, pauseDefaults, pauseRules)
    const { paused } = await this.group(name)
    const control = this.#control
    const pause = { at: paused?.at ?? new Date(), by: actor.by ?? currentUser(), why: actor.why }
    await this.#parts.audit.record(
      { action: 'groups.pause', target: { group: name }, ...given(actor) },
      async (changed) => {
        await control.write(name, writePause(pause))
        changed(1)
      },
    )
    if (waitMs > 0) {
      await awaitHalt({
        ...{ group: name, waitMs, staysInGroup: control.staysInGroup },
        consumers: async () => consumersOf(await this.#reports(), name),
        countMembers: async () => (await this.group(name)).members,
      })
    }
    return pause
  }

  async resume(name: string, actor: Actor = {}): Promise<boolean> {
    const who = checkedActor('admin.resume', actor)
    const { control } = this.#parts
    // A group that is gone may have left its pause.
    if (control === undefined || (await control.read(name)) === undefined) {
      await this.group(name)
      return false
    }
    return this.#parts.audit.record(
      { action: 'groups.resume', target: { group: name }, ...who },
      async (changed) => {
        await control.write(name, undefined)
        changed(1)
        return true
      },
    )
  }

  async seek(name: string, to: Date | string, options: SeekOptions = {}): Promise<SeekOutcome> {
    const { dryRun, ...actor } = resolveOptions('admin.seek', options, seekDefaults, seekRules)
    const group = await this.group(name)
    const found = await this.#transport.seek(name, to, true)
    if (dryRun) return found
    if (group.members > 0) throw new GroupInUseError(name, group.members, 'moved')
    return this.#parts.audit.record(
      { action: 'groups.seek', target: { group: name, to }, ...given(actor) },
      async (changed) => {
        const outcome = await this.#transport.seek(name, to, false)
        if (!outcome.isMoved) throw new GroupInUseError(name, 0, 'moved')
        changed(outcome.events)
        return outcome
      },
    )
  }

  get #control(): GroupControlStore {
    const { control } = this.#parts
    const problem = control === undefined ? 'this transport keeps no pauses of groups' : control.problem
    if (control === undefined || problem !== undefined) throw new ConfigError('admin', [problem ?? ''])
    return control
  }
}

/** @throws ConfigError */
function checkedActor(call: string, actor: Actor): Actor {
  return given(resolveOptions(call, actor, actorDefaults, actorRules))
}

function given({ by, why }: typeof actorDefaults): Actor {
  return { ...(by !== undefined && { by }), ...(why !== undefined && { why }) }
}
