import { BrokerEventBus, type BulkProgress } from '../../bus/index.ts'
import { EventRegistry } from '../../events/index.ts'
import { counted } from '../../kit/counted.ts'
import { UsageError } from '../exit-code.ts'
import { loadEventClasses } from '../load-events.ts'
import { openBus } from '../open-bus.ts'
import { busTarget, type GivenBus } from '../target.ts'
import type { Terminal } from '../terminal.ts'

interface BusInvocation {
  readonly options: Parameters<typeof busTarget>[0]['options'] & { readonly events?: readonly string[] }
  readonly url: string | undefined
  readonly terminal: Terminal
}

/** A connected bus, and what it was opened from. */
export interface OpenDlq {
  readonly bus: BrokerEventBus
  readonly target: GivenBus
}

/** Runs work on the bus that the command line names. @throws UsageError for a bus in memory. */
export async function withDlq<T>(
  { options, url, terminal }: BusInvocation,
  work: (open: OpenDlq) => Promise<T>,
): Promise<T> {
  const target = await busTarget({ options, url, terminal })
  const modules = [...target.events, ...(options.events ?? [])]
  const registry = new EventRegistry()
  if (modules.length > 0) for (const found of await loadEventClasses(modules)) registry.register(found)
  const bus = await openBus({ ...target, options: { ...target.options, registry } })
  try {
    if (!(bus instanceof BrokerEventBus)) {
      throw new UsageError('A bus in memory keeps no dead letters: give the URL of a broker.')
    }
    return await work({ bus, target })
  } finally {
    await bus.shutdown()
  }
}

/** Who and why, as the bus takes it. */
export function actorOf({
  by,
  reason,
}: {
  readonly by: string | undefined
  readonly reason: string | undefined
}) {
  return { ...(by !== undefined && { by }), ...(reason !== undefined && { why: reason }) }
}

export const lettersOf = (count: number): string => counted(count, 'dead letter')

/** Between two lines of progress, in milliseconds. */
const PROGRESS_MS = 5000

/** Writes a line of progress now and then. */
export function progressTo({ err }: Terminal, done: string): (progress: BulkProgress) => void {
  let lastAt = Date.now()
  return ({ changed, scanned, total, matched }) => {
    if (Date.now() - lastAt < PROGRESS_MS) return
    lastAt = Date.now()
    err(`${done} ${changed} of ${matched} found so far; read ${scanned} of ${total}`)
  }
}
