import { hostname } from 'node:os'
import { VERSION } from '../../events/copies.ts'
import type { PublishedEdge } from '../published-types.ts'

/** A handler of a consumer. */
export interface ConsumerHandler {
  readonly name: string
  /** Sorted; `*` stands for all. */
  readonly eventTypes: readonly string[]
}

/** The process of a bus. */
export interface ProcessInfo {
  readonly host: string
  readonly pid: number
  /** The option `programName`, or the environment variable `OTEL_SERVICE_NAME`. */
  readonly programName: string | undefined
  /** The option `programVersion`. */
  readonly programVersion: string | undefined
  readonly eventspineVersion: string
  /** When it has reported last, by the clock of the broker if that reports it. */
  readonly lastSeenAt: Date
}

/** A living consumer of a group, as it reports itself. */
export interface ConsumerInfo extends ProcessInfo {
  /** Undefined on an `InMemoryEventBus`, which has no groups. */
  readonly group: string | undefined
  /** True for an instance that gets every event (`broadcast`). */
  readonly broadcast: boolean
  readonly name: string
  /** When it has started to consume. */
  readonly since: Date
  /** True if it has noticed that its group is paused, and starts no further handler. */
  readonly paused: boolean
  readonly handlers: readonly ConsumerHandler[]
  /** Events that it has handled since its bus was created. */
  readonly handled: number
  /** Events that it has dead-lettered or dropped. */
  readonly failed: number
  /** Events that it holds: waiting, being handled, or between two attempts. */
  readonly inFlight: number
  /** How many of them are being handled. */
  readonly running: number
  /** How long it has held the oldest of them, in milliseconds. */
  readonly oldestInFlightMs: number | undefined
}

/** What a bus is and does at present. */
export interface PresenceFacts {
  readonly programName: string | undefined
  readonly programVersion: string | undefined
  /** Undefined while the bus does not consume. */
  readonly consumer: Omit<ConsumerInfo, keyof ProcessInfo> | undefined
  readonly publishes: readonly string[]
  readonly edges: readonly PublishedEdge[]
}

/** The report of a bus. */
export interface BusReport extends Omit<PresenceFacts, 'consumer' | 'programName' | 'programVersion'> {
  readonly process: ProcessInfo
  readonly consumer: ConsumerInfo | undefined
}

/** The report of this process. */
export function reportOf({ programName, programVersion, consumer, ...facts }: PresenceFacts): BusReport {
  const process = {
    host: hostname(),
    pid: globalThis.process.pid,
    programName: programName ?? (globalThis.process.env['OTEL_SERVICE_NAME'] || undefined),
    programVersion,
    eventspineVersion: VERSION,
    lastSeenAt: new Date(),
  }
  return { ...facts, process, consumer: consumer && { ...process, ...consumer } }
}

/** A report as the broker keeps it. */
export function writeReport(facts: PresenceFacts): string {
  const { process, consumer, publishes, edges } = reportOf(facts)
  const { host, pid, programName, programVersion, eventspineVersion } = process
  const own = consumer && {
    group: consumer.group,
    broadcast: consumer.broadcast,
    name: consumer.name,
    since: consumer.since.toISOString(),
    paused: consumer.paused,
    handlers: consumer.handlers.map(({ name, eventTypes }) => [name, ...eventTypes]),
    counts: [consumer.handled, consumer.failed, consumer.inFlight, consumer.running],
    oldest: consumer.oldestInFlightMs,
  }
  return JSON.stringify({
    version: 1,
    process: { host, pid, programName, programVersion, eventspineVersion },
    consumer: own,
    publishes,
    edges: edges.map(({ eventType, handler, publishes: published }) => [eventType, handler, published]),
  })
}

/** @returns undefined for a text that is no report: any client can write one. */
export function readReport(text: string, lastSeenAt: Date): BusReport | undefined {
  const report = fieldsOf(parsed(text))
  const given = fieldsOf(report['process'])
  const host = textOf(given['host'])
  if (host === undefined) return undefined
  const process = {
    host,
    pid: numberOf(given['pid']),
    programName: textOf(given['programName']),
    programVersion: textOf(given['programVersion']),
    eventspineVersion: textOf(given['eventspineVersion']) ?? 'unknown',
    lastSeenAt,
  }
  return {
    process,
    consumer: consumerOf(report['consumer'], process),
    publishes: textsOf(report['publishes']),
    edges: listOf(report['edges']).flatMap((edge) => {
      const [eventType, handler, publishes] = textsOf(edge)
      return eventType === undefined || handler === undefined || publishes === undefined
        ? []
        : [{ eventType, handler, publishes }]
    }),
  }
}

function consumerOf(value: unknown, process: ProcessInfo): ConsumerInfo | undefined {
  const given = fieldsOf(value)
  const name = textOf(given['name'])
  if (name === undefined) return undefined
  const [handled, failed, inFlight, running] = listOf(given['counts']).map(numberOf)
  const since = new Date(textOf(given['since']) ?? '')
  return {
    ...process,
    group: textOf(given['group']),
    broadcast: given['broadcast'] === true,
    name,
    since: Number.isNaN(since.getTime()) ? process.lastSeenAt : since,
    paused: given['paused'] === true,
    handlers: listOf(given['handlers']).flatMap((handler) => {
      const [handlerName, ...eventTypes] = textsOf(handler)
      return handlerName === undefined ? [] : [{ name: handlerName, eventTypes }]
    }),
    handled: handled ?? 0,
    failed: failed ?? 0,
    inFlight: inFlight ?? 0,
    running: running ?? inFlight ?? 0,
    oldestInFlightMs: given['oldest'] === undefined ? undefined : numberOf(given['oldest']),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function textsOf(value: unknown): readonly string[] {
  return listOf(value).filter((item) => typeof item === 'string')
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0
}
