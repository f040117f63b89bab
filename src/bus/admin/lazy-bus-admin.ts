import type { Meter } from '@opentelemetry/api'
import type { BrowsedEvent, BrowseQuery, FindOptions, TailQuery } from '../../browsing/index.ts'
import { ConfigError } from '../../errors.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupInfo, SeekOutcome, TransportAdmin } from '../../transport/admin.ts'
import type { TransportCheckup } from '../../transport/checkup.ts'
import type { GroupControlStore, GroupPause } from '../../transport/control.ts'
import type { PresenceStore } from '../../transport/presence.ts'
import type { Transport } from '../../transport/transport.ts'
import type { Actor, AuditTrail } from '../audit.ts'
import type { EventExplanation, ExplainOptions, LetterSource } from '../event-explanation.ts'
import type { Finding } from '../finding.ts'
import type { ConsumerInfo } from '../presence/report.ts'
import type { MessagingTarget } from '../telemetry/bus-spans.ts'
import type { MessageReader } from './browsed-message.ts'
import type { BusAdmin, ObserveOptions, PauseOptions, SeekOptions } from './bus-admin.ts'
import type { Operator } from './operator.ts'
import type { Topology } from './topology.ts'

export interface LazyBusAdminParts {
  readonly connect: () => Promise<void>
  /** Loads the part that depends on the broker, after the connection. */
  readonly load: () => Promise<TransportAdmin>
  readonly audit: AuditTrail
  /** Undefined if groups cannot be paused. */
  readonly loadControl: (() => Promise<GroupControlStore>) | undefined
  /** Undefined if processes report nothing. */
  readonly loadPresence: (() => Promise<Pick<PresenceStore, 'list'>>) | undefined
  /** Loads the checks of the broker, without a connection; undefined if there is nothing to check. */
  readonly loadCheckup: () => Promise<TransportCheckup | undefined>
  readonly logger: Logger
  readonly target: MessagingTarget
  /** The meter of the bus; undefined for the global one. */
  readonly meter: Meter | undefined
  /** Loads how the bus reads messages. */
  readonly reader: () => Promise<MessageReader>
  readonly letters: LetterSource
}

/** Loads the operator's code with the first call. */
export class LazyBusAdmin implements BusAdmin {
  readonly #parts: LazyBusAdminParts
  #loading: Promise<Operator> | undefined

  constructor(parts: LazyBusAdminParts) {
    this.#parts = parts
  }

  async groups(): Promise<readonly GroupInfo[]> {
    return (await this.#admin()).groups()
  }

  async group(name: string): Promise<GroupInfo> {
    return (await this.#admin()).group(name)
  }

  async deleteGroup(name: string, actor?: Actor): Promise<GroupInfo> {
    return (await this.#admin()).deleteGroup(name, actor)
  }

  async pause(group: string, options?: PauseOptions): Promise<GroupPause> {
    return (await this.#admin()).pause(group, options)
  }

  async resume(group: string, actor?: Actor): Promise<boolean> {
    return (await this.#admin()).resume(group, actor)
  }

  async seek(group: string, to: Date | string, options?: SeekOptions): Promise<SeekOutcome> {
    return (await this.#admin()).seek(group, to, options)
  }

  async consumers(group?: string): Promise<readonly ConsumerInfo[]> {
    return (await this.#admin()).consumers(group)
  }

  async topology(): Promise<Topology> {
    return (await this.#admin()).topology()
  }

  async *browse(query?: BrowseQuery): AsyncGenerator<BrowsedEvent> {
    yield* (await this.#admin()).browse(query)
  }

  async find(eventId: string, options?: FindOptions): Promise<BrowsedEvent | undefined> {
    return (await this.#admin()).find(eventId, options)
  }

  async explain(eventId: string, options?: ExplainOptions): Promise<EventExplanation> {
    return (await this.#admin()).explain(eventId, options)
  }

  async *tail(query?: TailQuery): AsyncGenerator<BrowsedEvent> {
    yield* (await this.#admin()).tail(query)
  }

  async *diagnose(): AsyncGenerator<Finding> {
    const checkup = await this.#parts.loadCheckup()
    const { diagnose } = await import('./diagnose.ts')
    if (checkup !== undefined) yield* diagnose(checkup)
  }

  async observe(options?: ObserveOptions): Promise<() => void> {
    return (await this.#admin()).observe(options)
  }

  async #admin(): Promise<Operator> {
    await this.#parts.connect()
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined
      throw error
    })
    return this.#loading
  }

  async #load(): Promise<Operator> {
    const { load, reader, loadControl, loadPresence } = this.#parts
    const loading = [import('./operator.ts'), load(), reader(), loadControl?.(), loadPresence?.()] as const
    const [loaded, transport, read, control, presence] = await Promise.all(loading)
    return new loaded.Operator({ ...this.#parts, transport, reader: read, control, presence })
  }
}

/** How a bus loads what an operator needs of its transport. Each rejects with a ConfigError if the transport lacks it. */
export function adminOf(
  transport: Pick<Transport, 'system' | 'loadAdmin' | 'loadCheckup'>,
): Pick<LazyBusAdminParts, 'load' | 'loadCheckup'> {
  const lacks = (name: string) => {
    throw new ConfigError('admin', [`the transport ${transport.system} has no ${name}`])
  }
  return {
    load: async () => transport.loadAdmin?.() ?? lacks('loadAdmin'),
    loadCheckup: async () => transport.loadCheckup?.() ?? lacks('loadCheckup'),
  }
}

/** How a bus loads what keeps the pauses of groups; undefined if its transport keeps none. */
export function controlOf(
  transport: Pick<Transport, 'loadControl'>,
): (() => Promise<GroupControlStore>) | undefined {
  if (transport.loadControl === undefined) return undefined
  let loading: Promise<GroupControlStore> | undefined
  return () => {
    loading ??= transport.loadControl?.()
    return loading ?? Promise.reject(new ConfigError('admin', ['the transport keeps no pauses of groups']))
  }
}
