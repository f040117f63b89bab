import type { Meter } from '@opentelemetry/api'
import type { BrowsedEvent, BrowseQuery, FindOptions, TailQuery } from '../../browsing/index.ts'
import { ConfigError } from '../../errors.ts'
import type { GroupInfo, SeekOutcome, TransportAdmin } from '../../transport/admin.ts'
import type { GroupControlStore, GroupPause } from '../../transport/control.ts'
import type { Transport } from '../../transport/transport.ts'
import type { Actor, AuditTrail } from '../audit.ts'
import type { EventExplanation, ExplainOptions, LetterSource } from '../event-explanation.ts'
import type { MessagingTarget } from '../telemetry/bus-spans.ts'
import type { MessageReader } from './browsed-message.ts'
import type { BusAdmin, ObserveOptions, SeekOptions } from './bus-admin.ts'

export interface LazyBusAdminParts {
  readonly connect: () => Promise<void>
  /** Loads the part that depends on the broker, after the connection. */
  readonly load: () => Promise<TransportAdmin>
  readonly audit: AuditTrail
  /** Undefined if groups cannot be paused. */
  readonly loadControl: (() => Promise<GroupControlStore>) | undefined
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
  #loading: Promise<BusAdmin> | undefined

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

  async pause(group: string, actor?: Actor): Promise<GroupPause> {
    return (await this.#admin()).pause(group, actor)
  }

  async resume(group: string, actor?: Actor): Promise<boolean> {
    return (await this.#admin()).resume(group, actor)
  }

  async seek(group: string, to: Date | string, options?: SeekOptions): Promise<SeekOutcome> {
    return (await this.#admin()).seek(group, to, options)
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

  async observe(options?: ObserveOptions): Promise<() => void> {
    return (await this.#admin()).observe(options)
  }

  async #admin(): Promise<BusAdmin> {
    await this.#parts.connect()
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined
      throw error
    })
    return this.#loading
  }

  async #load(): Promise<BusAdmin> {
    const { load, reader, loadControl } = this.#parts
    const loading = [import('./operator.ts'), load(), reader(), loadControl?.()] as const
    const [{ Operator }, transport, read, control] = await Promise.all(loading)
    return new Operator({ ...this.#parts, transport, reader: read, control })
  }
}

/** How a bus loads the admin of its transport. @throws ConfigError if the transport has none. */
export function adminOf(transport: Pick<Transport, 'system' | 'loadAdmin'>): () => Promise<TransportAdmin> {
  return async () => {
    if (transport.loadAdmin !== undefined) return transport.loadAdmin()
    throw new ConfigError('admin', [`the transport ${transport.system} has no loadAdmin`])
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
