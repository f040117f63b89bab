import { shorten } from '../errors.ts'
import { type DomainEvent, GenericEvent } from '../events/index.ts'
import { PassedOnGenericEvent } from '../events/passed-on-event.ts'
import type { SpanKindOf } from '../observability/tracer.ts'
import type { HandlerRun } from './handler-run.ts'

/** The span of one run of one handler. */
export const HANDLER_SPAN: SpanKindOf<HandlerRun> = {
  role: 'internal',
  name: ({ handler }) => `handle ${handler.name}`,
  attributes: ({ handler, event, attempt }) => ({
    'eventspine.handler.name': handler.name,
    'eventspine.attempt': attempt,
    'eventspine.event.type': shorten(event.eventType, 256),
    'eventspine.event.id': shorten(event.eventId, 256),
  }),
}

/** Stands for all event types without a class, so that messages on the wire cannot create names or time series. */
const OTHER_TYPE = '_OTHER'

/** The type of an event in names of spans and in labels of metrics. */
export function registeredType(event: DomainEvent): string {
  const isUnknown = event instanceof GenericEvent || event instanceof PassedOnGenericEvent
  return isUnknown ? OTHER_TYPE : event.eventType
}
