import {
  type Attributes,
  type Context,
  context,
  type Tracer as OpenTelemetryApiTracer,
  ProxyTracerProvider,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { toError } from '../errors.ts'

/** Where a trace context travels: `traceparent`, `tracestate`, `baggage`. */
export type TraceHeaders = Readonly<Record<string, string>>

export type SpanRole = 'producer' | 'consumer' | 'internal'

/**
 * A kind of span, made once and opened for many subjects: on the hot path nothing is allocated for it. Attributes are
 * made only for a span that is recorded.
 */
export interface SpanKindOf<S> {
  readonly role: SpanRole
  /** True where failures are told by spans within: the span then ends without an error. */
  readonly leavesFailuresToChildren?: boolean
  name(subject: S): string
  attributes(subject: S): Attributes
  /** Headers of the message that caused it. The span is a child of their trace context, linked to it, and else a root. */
  cause?(subject: S): TraceHeaders
}

/** The span that a piece of code runs in. */
export interface EventSpan {
  /** Something that happened in it. */
  addEvent(name: string, attributes: () => Attributes): void
  /** Says that it failed, though nothing was thrown. */
  fail(message: string): void
}

/** Runs code inside spans. */
export interface EventTracer {
  /**
   * Runs `body` in an active span that ends when the result, or the promise it is, has settled. The body gets the
   * subject, so that it needs no closure.
   */
  around<S, T>(kind: SpanKindOf<S>, subject: S, body: (subject: S, span: EventSpan) => T): T
  /** The headers that carry the active trace context; undefined when there is none. */
  traceHeaders(): TraceHeaders | undefined
}

/** What code gets that runs in no span, or in one that nobody records. */
export const NO_SPAN: EventSpan = { addEvent: () => undefined, fail: () => undefined }

/** Opens no spans. */
export const noTracer: EventTracer = {
  around: (_kind, subject, body) => body(subject, NO_SPAN),
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

  around<S, T>(kind: SpanKindOf<S>, subject: S, body: (subject: S, span: EventSpan) => T): T {
    const tracer = this.#tracer()
    if (tracer === undefined) return body(subject, NO_SPAN)
    const headers = kind.cause?.(subject)
    const parent = headers === undefined ? context.active() : propagation.extract(ROOT_CONTEXT, headers)
    if (headers === undefined && isSampledOut(parent)) return body(subject, NO_SPAN)
    const span = tracer.startSpan(kind.name(subject), { kind: KINDS[kind.role] }, parent)
    const inside = trace.setSpan(parent, span)
    // What it publishes has to say that this trace is not recorded: else a new one would begin there.
    if (!span.isRecording()) return context.with(inside, body, undefined, subject, NO_SPAN)
    span.setAttributes(kind.attributes(subject))
    if (headers !== undefined) link(span, parent)
    return context.with(inside, () => endAfter(span, kind, () => body(subject, recorded(span))))
  }

  traceHeaders(): TraceHeaders | undefined {
    const active = context.active()
    if (trace.getSpanContext(active) === undefined) return undefined
    const carrier: Record<string, string> = {}
    propagation.inject(active, carrier)
    return carrier
  }

  /** @returns undefined while no SDK is registered. */
  #tracer(): OpenTelemetryApiTracer | undefined {
    if (this.#given !== undefined) return this.#given
    const provider = trace.getTracerProvider()
    if (provider instanceof ProxyTracerProvider) return provider.getDelegateTracer('eventspine')
    return provider.getTracer('eventspine')
  }
}

/** True inside a span of this process that the sampler left out: what happens in it is left out as well. */
function isSampledOut(active: Context): boolean {
  const span = trace.getSpan(active)
  if (span === undefined || span.isRecording()) return false
  const { isRemote, traceFlags } = span.spanContext()
  return isRemote !== true && (traceFlags & TraceFlags.SAMPLED) === 0
}

function link(span: Span, cause: Context): void {
  const found = trace.getSpanContext(cause)
  if (found !== undefined) span.addLink({ context: found })
}

function recorded(span: Span): EventSpan {
  return {
    addEvent: (name, attributes) => span.addEvent(name, attributes()),
    fail: (message) => span.setStatus({ code: SpanStatusCode.ERROR, message }),
  }
}

function endAfter<T>(span: Span, kind: { readonly leavesFailuresToChildren?: boolean }, body: () => T): T {
  const fail = (error: unknown) => {
    if (kind.leavesFailuresToChildren !== true) markFailed(span, toError(error))
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
  span.setAttribute('error.type', error.name)
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
}
