import type { BrowsedEvent, BrowseProgress, BrowseQuery, EventFilter } from '../../browsing/index.ts'
import { EventRegistry } from '../../events/index.ts'
import { counted } from '../../kit/counted.ts'
import { EventBrowser } from '../../store/index.ts'
import { bodyText } from '../body-text.ts'
import { EXIT, type ExitCode, NotFoundError, UsageError } from '../exit-code.ts'
import { loadEventClasses } from '../load-events.ts'
import { openBus } from '../open-bus.ts'
import { openExistingStores } from '../open-stores.ts'
import { plain } from '../table.ts'
import { busTarget, isStore, type LogInvocation, storeTarget } from '../target.ts'
import type { Terminal } from '../terminal.ts'

export interface Invocation extends LogInvocation {
  readonly options: LogInvocation['options'] & {
    readonly events: readonly string[]
    readonly json: boolean
  }
}

/** What `bus.admin` and `EventBrowser` have in common. */
type Log = Pick<EventBrowser, 'browse' | 'find'>

/** Lists events as they are found. */
export async function listEvents(
  invocation: Invocation,
  query: {
    readonly filter: EventFilter
    readonly from: Date | string | undefined
    readonly limit: number
    readonly maxScanned: number | undefined
    readonly direction: 'forward' | 'backward'
  },
): Promise<ExitCode> {
  const { options, terminal } = invocation
  const { interrupted: signal } = terminal
  const { from, maxScanned, ...others } = query
  const progress = new Progress(terminal)
  const given: BrowseQuery = {
    ...others,
    ...(from !== undefined && { from }),
    ...(maxScanned !== undefined && { maxScanned }),
    onProgress: progress.note,
    signal,
  }
  return withLog(invocation, async (log) => {
    for await (const found of log.browse(given)) await print(found, options.json, terminal)
    terminal.err(progress.end)
    return EXIT.done
  })
}

export async function showEvent(
  invocation: Invocation,
  id: string,
  search: { readonly aggregateId: string | undefined; readonly maxScanned: number | undefined },
): Promise<ExitCode> {
  const { options, terminal } = invocation
  const { aggregateId, maxScanned } = search
  const progress = new Progress(terminal)
  return withLog(invocation, async (log) => {
    const found = await log.find(id, {
      ...(aggregateId !== undefined && { aggregateId }),
      ...(maxScanned !== undefined && { maxScanned }),
      onProgress: progress.note,
      signal: terminal.interrupted,
    })
    if (found === undefined)
      throw new NotFoundError(`There is no event ${JSON.stringify(id)}: ${progress.end}.`)
    if (options.json) {
      await terminal.out(JSON.stringify({ version: 1, ...dataOf(found) }))
      return EXIT.done
    }
    const { body, headers, ...fields } = dataOf(found)
    for (const [name, value] of Object.entries({ ...fields, headers: JSON.stringify(headers), body })) {
      if (value !== undefined) await terminal.out(`${name.padEnd(14)} ${plain(String(value))}`)
    }
    return EXIT.done
  })
}

/** Shows new events. Ctrl-C ends it with success. */
export async function tailEvents(
  invocation: Invocation,
  query: {
    readonly filter: EventFilter
    readonly limit: number | undefined
    readonly forMs: number | undefined
  },
): Promise<ExitCode> {
  const { options, terminal } = invocation
  const { filter, limit, forMs } = query
  if (isStore(invocation))
    throw new UsageError('tail needs a broker: eventspine events lists the events of a store.')
  await using bus = await openLogBus(invocation)
  const ends = forMs === undefined ? [] : [AbortSignal.timeout(forMs)]
  const signal = AbortSignal.any([terminal.interrupted, ...ends])
  const events = bus.admin.tail({
    filter,
    ...(limit !== undefined && { limit }),
    signal,
    onReady: () => terminal.err('waiting for new events; Ctrl-C ends it'),
  })
  for await (const found of events) await print(found, options.json, terminal)
  return EXIT.done
}

export async function withLog(
  invocation: Invocation,
  work: (log: Log) => Promise<ExitCode>,
): Promise<ExitCode> {
  if (!isStore(invocation)) {
    await using bus = await openLogBus(invocation)
    return await work({
      browse: (query) => generatorOf(bus.admin.browse(query)),
      find: (id, options) => bus.admin.find(id, options),
    })
  }
  const { options, terminal } = invocation
  const target = await storeTarget(invocation)
  const stores = await openExistingStores(
    { ...target, events: [...target.events, ...options.events] },
    terminal,
  )
  try {
    return await work(new EventBrowser(stores.events))
  } finally {
    await stores.close()
  }
}

async function* generatorOf<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  yield* items
}

export async function openLogBus(invocation: Invocation) {
  const target = await busTarget(invocation)
  const modules = [...target.events, ...invocation.options.events]
  const registry = new EventRegistry()
  if (modules.length > 0) for (const found of await loadEventClasses(modules)) registry.register(found)
  return openBus({ ...target, options: { ...target.options, registry } })
}

async function print(found: BrowsedEvent, isJson: boolean, terminal: Terminal): Promise<void> {
  if (isJson) return terminal.out(JSON.stringify({ version: 1, ...dataOf(found) }))
  const { storedAt, occurredAt, eventType, aggregateId, eventId, position } = found
  const at = (storedAt ?? occurredAt)?.toISOString() ?? '-'
  const line = plain([at, eventType ?? '-', aggregateId ?? '-', eventId ?? '-', position].join('  '))
  const { columns } = terminal
  return terminal.out(
    columns === undefined || line.length <= columns ? line : `${line.slice(0, columns - 1)}…`,
  )
}

export function dataOf(found: BrowsedEvent) {
  const { position, partition, storedAt, occurredAt, eventId, eventType, headers } = found
  const { aggregateId, aggregateType, correlationId, causationId, tenantId } = found
  return {
    ...{ eventId, eventType, aggregateId, aggregateType, correlationId, causationId, tenantId },
    ...{ occurredAt: occurredAt?.toISOString(), storedAt: storedAt?.toISOString(), position, partition },
    ...{ headers, body: bodyText(found.body) },
  }
}

/** Between two lines of progress, in milliseconds. */
const PROGRESS_MS = 2000

/** Writes the progress of a search now and then. */
export class Progress {
  readonly #terminal: Terminal
  #at = Date.now()
  #last: BrowseProgress | undefined

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  readonly note = (progress: BrowseProgress): void => {
    this.#last = progress
    if (progress.ended !== undefined || Date.now() - this.#at < PROGRESS_MS) return
    this.#at = Date.now()
    const { scanned, total, matched } = progress
    this.#terminal.err(
      `events read: ${scanned}${total === undefined ? '' : ` of ${total}`}, matching: ${matched}`,
    )
  }

  /** What the search has read, and how to continue it. */
  get end(): string {
    const { scanned = 0, total, matched = 0, ended, position } = this.#last ?? {}
    const all = total === undefined || total < scanned ? '' : ` of ${total}`
    const rest = ended === 'end' || position === undefined ? '' : `; the next: --from=${plain(position)}`
    return `${counted(matched, 'event matches', 'events match')}, ${scanned}${all} read${rest}`
  }
}
