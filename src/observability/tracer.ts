import {
  type Attributes,
  context,
  type Tracer as OpenTelemetryApiTracer,
  ProxyTracerProvider,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { toError } from '../errors.ts'

/** Where a trace context travels: `traceparent`, `tracestate`, `baggage`. */
export type TraceHeaders = Readonly<Record<string, string>>

export type SpanRole = 'producer' | 'consumer' | 'internal'

/** A span to open. Name and attributes are made only when somebody records them. */
export interface SpanRequest {
  readonly role: SpanRole
  /** Headers of the message that caused it; with a trace context in them the span is its child. */
  readonly parent?: TraceHeaders
  name(): string
  attributes(): Attributes
}

/** Runs code inside spans. */
export interface EventTracer {
  /** Runs `body` in an active span that ends when the result, or the promise it is, has settled. */
  inSpan<T>(request: SpanRequest, body: () => T): T
  /** The headers that carry the active trace context; undefined when there is none. */
  traceHeaders(): TraceHeaders | undefined
}

/** Opens no spans. */
export const noTracer: EventTracer = { inSpan: (_request, body) => body(), traceHeaders: () => undefined }

const KINDS: Readonly<Record<SpanRole, SpanKind>> = {
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
}

/**
 * Spans through the OpenTelemetry API. Without a given tracer it uses the global one, and costs a comparison
 * as long as no SDK is registered.
 */
export class OpenTelemetryTracer implements EventTracer {
  readonly #given: OpenTelemetryApiTracer | undefined

  constructor(given?: OpenTelemetryApiTracer) {
    this.#given = given
  }

  inSpan<T>(request: SpanRequest, body: () => T): T {
    const tracer = this.#given ?? globalTracer()
    if (tracer === undefined) return body()
    const { parent } = request
    const outer = parent === undefined ? context.active() : propagation.extract(ROOT_CONTEXT, parent)
    const span = tracer.startSpan(request.name(), { kind: KINDS[request.role] }, outer)
    if (span.isRecording()) span.setAttributes(request.attributes())
    return context.with(trace.setSpan(outer, span), () => endAfter(span, body))
  }

  traceHeaders(): TraceHeaders | undefined {
    const active = context.active()
    if (trace.getSpanContext(active) === undefined) return undefined
    const carrier: Record<string, string> = {}
    propagation.inject(active, carrier)
    return carrier
  }
}

/** @returns undefined while no SDK is registered. */
function globalTracer(): OpenTelemetryApiTracer | undefined {
  const provider = trace.getTracerProvider()
  if (provider instanceof ProxyTracerProvider) return provider.getDelegateTracer('eventspine')
  return provider.getTracer('eventspine')
}

function endAfter<T>(span: Span, body: () => T): T {
  let result: T
  try {
    result = body()
  } catch (error) {
    markFailed(span, toError(error))
    span.end()
    throw error
  }
  if (!(result instanceof Promise)) {
    span.end()
    return result
  }
  return endWhenSettled(span, result)
}

function endWhenSettled<T extends Promise<unknown>>(span: Span, result: T): T {
  const settled = result.then(
    (value) => {
      span.end()
      return value
    },
    (error: unknown) => {
      markFailed(span, toError(error))
      span.end()
      throw error
    },
  )
  // The same promise type with the same value: `then` only loses the name of the type.
  return settled as T
}

function markFailed(span: Span, error: Error): void {
  span.recordException(error)
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
}
