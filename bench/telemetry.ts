// An OpenTelemetry SDK that drops its spans and never exports its metrics, so that no exporter is measured.
import { context, propagation } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  ParentBasedSampler,
  type Sampler,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-base'

const dropping: SpanProcessor = {
  onStart: () => undefined,
  onEnd: () => undefined,
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
}

function tracerOf(sampler: Sampler) {
  return new BasicTracerProvider({ sampler, spanProcessors: [dropping] }).getTracer('bench')
}

/** Context and propagation are enabled until the SDK is disposed. */
export function startTelemetry() {
  const reader = new PeriodicExportingMetricReader({
    exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
    exportIntervalMillis: 3_600_000,
  })
  const meter = new MeterProvider({ readers: [reader] }).getMeter('bench')
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  return {
    meter,
    recording: { tracer: tracerOf(new AlwaysOnSampler()) },
    sampledOut: { tracer: tracerOf(new ParentBasedSampler({ root: new AlwaysOffSampler() })) },
    async [Symbol.asyncDispose]() {
      context.disable()
      propagation.disable()
      await reader.shutdown()
    },
  }
}
