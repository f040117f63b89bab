import type { DomainEvent } from '../events/index.ts'

/** Records measurements of handling. The bus implements it with its `MetricsRecorder`. */
export interface HandlingRecorder {
  /** The handling of an event starts. */
  consumed(event: DomainEvent): void
  /** One run of one handler ended. */
  ran(event: DomainEvent, handlerName: string, error: Error | undefined, startedAt: number): void
  /** The handling of an event ended. */
  handled(
    event: DomainEvent,
    outcome: 'success' | 'failure',
    reason: undefined,
    startedAt: number | undefined,
  ): void
}

/** Gives access to the recorder, which is undefined while no metrics are recorded. */
export interface HandlingMetrics {
  readonly recorder: HandlingRecorder | undefined
}
