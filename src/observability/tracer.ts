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
  readonly leavesFailuresToChildren?: boolean
  name(): string
  attributes(): Attributes
}

/** A kind of span, made once and opened for many subjects: on the hot path nothing is allocated for it. */
export interface SpanKindOf<S> {
  readonly role: SpanRole
  /** True where failures are told by spans within: the span then ends without an error. */
  readonly leavesFailuresToChildren?: boolean
  name(subject: S): string
  attributes(subject: S): Attributes
}

/** Runs code inside spans. */
export interface EventTracer {
  /** {@link inSpan} for the hot path: `body` gets the subject, so that it needs no closure. */
  around<S, T>(kind: SpanKindOf<S>, subject: S, body: (subject: S) => T): T
  /** Runs `body` in an active span that ends when the result, or the promise it is, has settled. */
  inSpan<T>(request: SpanRequest, body: () => T): T
  /** The headers that carry the active trace context; undefined when there is none. */
  traceHeaders(): TraceHeaders | undefined
}

/** Opens no spans. */
export const noTracer: EventTracer = {
  around: (_kind, subject, body) => body(subject),
  inSpan: (_request, body) => body(),
  traceHeaders: () => undefined,
}

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

  around<S, T>(kind: SpanKindOf<S>, subject: S, body: (subject: S) => T): T {
    if (this.#tracer() === undefined) return body(subject)
    const { role, leavesFailuresToChildren = false } = kind
    const name = () => kind.name(subject)
    const attributes = () => kind.attributes(subject)
    return this.inSpan({ role, leavesFailuresToChildren, name, attributes }, () => body(subject))
  }

  inSpan<T>(request: SpanRequest, body: () => T): T {
    const tracer = this.#tracer()
    if (tracer === undefined) return body()
    const { parent } = request
    const outer = parent === undefined ? context.active() : propagation.extract(ROOT_CONTEXT, parent)
    const span = tracer.startSpan(request.name(), { kind: KINDS[request.role] }, outer)
    if (span.isRecording()) span.setAttributes(request.attributes())
    return context.with(trace.setSpan(outer, span), () => endAfter(span, request, body))
  }

  /** @returns undefined while no SDK is registered. */
  #tracer(): OpenTelemetryApiTracer | undefined {
    if (this.#given !== undefined) return this.#given
    const provider = trace.getTracerProvider()
    if (provider instanceof ProxyTracerProvider) return provider.getDelegateTracer('eventspine')
    return provider.getTracer('eventspine')
  }

  traceHeaders(): TraceHeaders | undefined {
    const active = context.active()
    if (trace.getSpanContext(active) === undefined) return undefined
    const carrier: Record<string, string> = {}
    propagation.inject(active, carrier)
    return carrier
  }
}

function endAfter<T>(span: Span, request: SpanRequest, body: () => T): T {
  const fail = (error: unknown) => {
    if (request.leavesFailuresToChildren !== true) markFailed(span, toError(error))
    span.end()
    throw error
  }
  let result: T
  try {
    result = body()
  } catch (error) {
    return fail(error)
  }
  if (!(result instanceof Promise)) {
    span.end()
    return result
  }
  return endWhenSettled(span, result, fail)
}

function endWhenSettled<T extends Promise<unknown>>(
  span: Span,
  result: T,
  fail: (error: unknown) => never,
): T {
  const settled = result.then((value) => {
    span.end()
    return value
  }, fail)
  // The same promise type with the same value: `then` only loses the name of the type.
  return settled as T
}

function markFailed(span: Span, error: Error): void {
  span.recordException(error)
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
}
