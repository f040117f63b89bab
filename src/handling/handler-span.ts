import { shorten } from '../errors.ts'
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
