import { context, trace } from '@opentelemetry/api'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  type Sampler,
} from '@opentelemetry/sdk-trace-base'
import { expect, it, vi } from 'vitest'
import { OpenTelemetryTracer, type SpanKindOf } from '../../src/observability/tracer.ts'
import { startTracing } from '../support/telemetry.ts'

function kindThatCounts() {
  const attributes = vi.fn(() => ({ 'eventspine.event.id': 'e-1' }))
  const name = vi.fn(() => 'memory.publish OrderCreated')
  const kind: SpanKindOf<string> = { role: 'producer', name, attributes }
  return { kind, name, attributes }
}

function tracerWith(sampler: Sampler): OpenTelemetryTracer {
  return new OpenTelemetryTracer(new BasicTracerProvider({ sampler }).getTracer('test'))
}

it('creates no name, no attributes and no context while no SDK is registered', () => {
  const { kind, name, attributes } = kindThatCounts()
  const activate = vi.spyOn(context, 'with')

  const result = new OpenTelemetryTracer().around(kind, 'order', (subject, span) => {
    span.addEvent('retry', () => attributes())
    return `${subject} done`
  })

  expect(result).toBe('order done')
  expect([name, attributes, activate].map(({ mock }) => mock.calls.length)).toEqual([0, 0, 0])
  activate.mockRestore()
})

it('creates no attributes for a span that is not sampled, and no spans inside it', () => {
  startTracing()
  const { kind, name, attributes } = kindThatCounts()
  const tracer = tracerWith(new AlwaysOffSampler())

  const inside = tracer.around(kind, 'order', (subject, outer) => {
    outer.addEvent('retry', () => attributes())
    return tracer.around(kind, subject, () => trace.getActiveSpan()?.isRecording())
  })

  expect(inside).toBe(false)
  expect(attributes).not.toHaveBeenCalled()
  expect(name).toHaveBeenCalledTimes(1)
})

it('creates them once for a span that is recorded', () => {
  startTracing()
  const { kind, attributes } = kindThatCounts()

  tracerWith(new AlwaysOnSampler()).around(kind, 'order', () => undefined)

  expect(attributes).toHaveBeenCalledTimes(1)
})
