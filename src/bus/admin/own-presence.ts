import { hostname } from 'node:os'
import type { HandlerRegistry } from '../../handling/handler-registry.ts'
import type { PresenceStore } from '../../transport/presence.ts'
import { writeReport } from '../presence/report.ts'
import type { PublishedTypes } from '../published-types.ts'

/** What a bus in memory does. */
export interface OwnActivity {
  readonly handlers: HandlerRegistry
  readonly published: PublishedTypes
  readonly since: Date
  readonly counts: () => {
    readonly handled: number
    readonly failed: number
    readonly inFlight: number
    readonly running: number
    readonly oldestInFlightMs: number | undefined
  }
}

/** The report of this process, which no other can see. */
export function ownPresence(activity: OwnActivity): Pick<PresenceStore, 'list'> {
  return { list: () => Promise.resolve([{ text: textOf(activity), seenAt: new Date() }]) }
}

function textOf({ handlers, published, since, counts }: OwnActivity): string {
  return writeReport({
    programName: undefined,
    programVersion: undefined,
    publishes: published.types,
    edges: published.edges,
    consumer: {
      group: undefined,
      broadcast: false,
      name: `${hostname()}:${process.pid}`,
      since,
      paused: false,
      handlers: handlers.describe(),
      ...counts(),
    },
  })
}
