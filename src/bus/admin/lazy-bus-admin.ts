import type { Meter } from '@opentelemetry/api'
import type { BrowsedEvent, BrowseQuery, FindOptions, TailQuery } from '../../browsing/index.ts'
import { ConfigError } from '../../errors.ts'
import type { Logger } from '../../observability/logger.ts'
import type { GroupInfo, TransportAdmin } from '../../transport/admin.ts'
import type { TransportCheckup } from '../../transport/checkup.ts'
import type { Transport } from '../../transport/transport.ts'
import type { EventExplanation, ExplainOptions, LetterSource } from '../event-explanation.ts'
import type { Finding } from '../finding.ts'
import type { MessagingTarget } from '../telemetry/bus-spans.ts'
import type { MessageReader } from './browsed-message.ts'
import type { BusAdmin, DeleteGroupOptions, ObserveOptions } from './bus-admin.ts'
import type { Operator } from './operator.ts'

export interface LazyBusAdminParts {
  readonly connect: () => Promise<void>
  /** Loads the part that depends on the broker, after the connection. */
  readonly load: () => Promise<TransportAdmin>
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

  async deleteGroup(name: string, options?: DeleteGroupOptions): Promise<GroupInfo> {
    return (await this.#admin()).deleteGroup(name, options)
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
    const { load, reader } = this.#parts
    const [loaded, transport, read] = await Promise.all([import('./operator.ts'), load(), reader()])
    return new loaded.Operator({ ...this.#parts, transport, reader: read })
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
