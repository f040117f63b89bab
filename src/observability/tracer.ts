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
import { withoutSecrets } from '../error-redaction.ts'
import { toError } from '../errors.ts'

/** The headers that carry a trace context: `traceparent`, `tracestate`, `baggage`. */
export type TraceHeaders = Readonly<Record<string, string>>

export type SpanRole = 'producer' | 'consumer' | 'internal'

/**
 * A kind of span, created once and used for many subjects, so that the hot path allocates nothing for it. `attributes` is
 * called only for a span that is recorded.
 */
export interface SpanKindOf<S> {
  readonly role: SpanRole
  /** If true, the span ends without an error when its body fails, because child spans report the failure. */
  readonly leavesFailuresToChildren?: boolean
  name(subject: S): string
  attributes(subject: S): Attributes
  /** Headers of the message that caused the span. Their trace context becomes its parent and a link; without one, it is a root. */
  cause?(subject: S): TraceHeaders
}

/** A running span, as the code inside it sees it. */
export interface EventSpan {
  /** Adds an event to the span. The attributes are created only if the span is recorded. */
  addEvent(name: string, attributes: () => Attributes): void
  /** Marks the span as failed without an exception. */
  fail(message: string): void
}

/** Runs code inside spans. */
export interface EventTracer {
  /**
   * Runs `body` in an active span. The span ends when `body` returns or, if it returns a promise, when that settles. The
   * body receives the subject, so that it needs no closure.
   */
  around<S, T>(kind: SpanKindOf<S>, subject: S, body: (subject: S, span: EventSpan) => T): T
  /** The headers of the active trace context; undefined if there is none. */
  traceHeaders(): TraceHeaders | undefined
}

/** Passed to code that runs in no span, or in one that is not recorded. */
export const NO_SPAN: EventSpan = { addEvent: () => undefined, fail: () => undefined }

/** Creates no spans. */
export const noTracer: EventTracer = {
  around: (_kind, subject, body) => body(subject, NO_SPAN),
  traceHeaders: () => undefined,
}

/** The tracer for spans within one: there are none within a span that is not recorded. This saves a search for the SDK. */
export function tracerWithin(span: EventSpan, tracer: EventTracer): EventTracer {
  return span === NO_SPAN ? noTracer : tracer
}

const KINDS: Readonly<Record<SpanRole, SpanKind>> = {
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
}

/**
 * Creates spans through the OpenTelemetry API, with the given tracer or the global one. Without a registered SDK, each
 * call costs one comparison.
 */
export class OpenTelemetryTracer implements EventTracer {
  readonly #given: OpenTelemetryApiTracer | undefined
  readonly #propagateBaggage: boolean

  /** @param propagateBaggage - true to write baggage into messages and to read it from them. Default false. */
  constructor(given?: OpenTelemetryApiTracer, { propagateBaggage = false } = {}) {
    this.#given = given
    this.#propagateBaggage = propagateBaggage
  }

  around<S, T>(kind: SpanKindOf<S>, subject: S, body: (subject: S, span: EventSpan) => T): T {
    const tracer = this.#tracer()
    if (tracer === undefined) return body(subject, NO_SPAN)
    const headers = kind.cause?.(subject)
    const parent = headers === undefined ? context.active() : this.#extract(headers)
    if (headers === undefined && isSampledOut(parent)) return body(subject, NO_SPAN)
    const span = tracer.startSpan(kind.name(subject), { kind: KINDS[kind.role] }, parent)
    const inside = trace.setSpan(parent, span)
    // The context must be active even if it is not recorded: otherwise events that the body publishes start a new trace.
    if (!span.isRecording()) return context.with(inside, body, undefined, subject, NO_SPAN)
    span.setAttributes(kind.attributes(subject))
    if (headers !== undefined) link(span, parent)
    return context.with(inside, () => endAfter(span, kind, () => body(subject, recorded(span))))
  }

  traceHeaders(): TraceHeaders | undefined {
    const active = context.active()
    if (trace.getSpanContext(active) === undefined) return undefined
    const carrier: Record<string, string> = {}
    propagation.inject(this.#propagateBaggage ? active : propagation.deleteBaggage(active), carrier)
    return carrier
  }

  /** The context in the headers of a message. Baggage is optional, because any producer can write it and handlers may trust it. */
  #extract(headers: TraceHeaders): Context {
    const extracted = propagation.extract(ROOT_CONTEXT, headers)
    return this.#propagateBaggage ? extracted : propagation.deleteBaggage(extracted)
  }

  /** @returns undefined while no SDK is registered. */
  #tracer(): OpenTelemetryApiTracer | undefined {
    if (this.#given !== undefined) return this.#given
    const provider = trace.getTracerProvider()
    if (provider instanceof ProxyTracerProvider) return provider.getDelegateTracer('eventspine')
    return provider.getTracer('eventspine')
  }
}

/** True inside a span of this process that was not sampled: its child spans are not created either. */
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
  // `then` returns a promise of the same value, but loses the type T.
  return settled as T
}

function markFailed(span: Span, thrown: Error): void {
  // A handler's error can hold anything.
  const error = withoutSecrets(thrown)
  span.recordException(error)
  span.setAttribute('error.type', error.name)
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message })
}
