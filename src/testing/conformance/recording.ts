import { inspect } from 'node:util'
import type { DomainEvent, HandlerContext, LogFields, Logger } from '../../index.ts'

/** One run of a recorded handler. */
export interface RecordedRun<E extends DomainEvent = DomainEvent> {
  readonly event: E
  readonly attempt: number
  readonly deliveryCount: number
  readonly context: HandlerContext
  readonly startedAt: number
}

/** A handler that records its calls, then calls a function of the test. */
export class Recording<E extends DomainEvent = DomainEvent> {
  readonly runs: RecordedRun<E>[] = []
  /** The function to subscribe. */
  readonly handler: (event: E, context: HandlerContext) => unknown

  constructor(then: (event: E, run: RecordedRun<E>) => unknown = () => undefined) {
    this.handler = (event, context) => {
      const { attempt, deliveryCount } = context
      const run = { event, attempt, deliveryCount, context, startedAt: performance.now() }
      this.runs.push(run)
      return then(event, run)
    }
  }

  get events(): readonly E[] {
    return this.runs.map(({ event }) => event)
  }

  get ids(): readonly string[] {
    return this.runs.map(({ event }) => event.eventId)
  }

  /** The runs for one event. */
  runsOf({ eventId }: DomainEvent): readonly RecordedRun<E>[] {
    return this.runs.filter(({ event }) => event.eventId === eventId)
  }

  has({ eventId }: DomainEvent): boolean {
    return this.runs.some(({ event }) => event.eventId === eventId)
  }
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
  readonly fields: LogFields
}

/** A logger that keeps its lines. */
export class RecordingLogger implements Logger {
  readonly lines: LogLine[] = []

  debug(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'debug', message, fields })
  }

  info(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'info', message, fields })
  }

  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'warn', message, fields })
  }

  error(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: 'error', message, fields })
  }

  /** The last 20 lines, shortened. */
  toString(): string {
    const shown = this.lines.slice(-20).map(({ level, message, fields }) => {
      const values = Object.entries(fields).map(([name, value]) => ` ${name}=${short(value)}`)
      return `  ${level} ${message}${values.join('')}`
    })
    return shown.join('\n')
  }

  /** The full text of all lines. */
  everything(): string {
    return inspect(this.lines, { depth: 10 })
  }
}

function short(value: unknown): string {
  return value instanceof Error ? `${value.name}: ${value.message}` : inspect(value, { depth: 1 })
}

/** Ids of the events in the order of their first handling. */
export function firsts(events: readonly DomainEvent[]): readonly string[] {
  return [...new Set(events.map(({ eventId }) => eventId))]
}
