import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, it } from 'vitest'
import { InMemoryEventBus } from '../../src/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** A real SDK that keeps its spans. */
function startSdk() {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  return { exporter, provider }
}

function named(spans: readonly ReadableSpan[], name: string): ReadableSpan {
  const found = spans.find((span) => span.name === name)
  if (found === undefined)
    throw new Error(`no span ${name} among ${spans.map((span) => span.name).join(', ')}`)
  return found
}

afterEach(() => {
  trace.disable()
  context.disable()
})

describe('with an OpenTelemetry SDK', () => {
  it('an event has one span, and each of its handlers a child of it', async () => {
    const { exporter, provider } = startSdk()
    trace.setGlobalTracerProvider(provider)
    const bus = new InMemoryEventBus()
    bus.subscribe(OrderCreated, function first() {})
    bus.subscribe(OrderCreated, async function second() {
      await turn()
    })
    const event = orderCreated()

    await bus.publish([event])

    const spans = exporter.getFinishedSpans()
    const dispatch = named(spans, 'memory.publish OrderCreated')
    expect(spans).toHaveLength(3)
    expect(dispatch.kind).toBe(SpanKind.PRODUCER)
    expect(dispatch.attributes).toEqual({
      'messaging.system': 'memory',
      'messaging.operation.type': 'publish',
      'messaging.message.id': event.eventId,
      'eventspine.event.type': 'OrderCreated',
      'eventspine.event.id': event.eventId,
      'eventspine.aggregate.id': 'Order-1',
      'eventspine.aggregate.type': 'Order',
      'eventspine.handler.count': 2,
    })
    for (const handler of ['first', 'second']) {
      const span = named(spans, `handle ${handler}`)
      expect(span.parentSpanContext?.spanId).toBe(dispatch.spanContext().spanId)
      expect(span.attributes).toEqual({
        'eventspine.handler.name': handler,
        'eventspine.event.type': 'OrderCreated',
        'eventspine.event.id': event.eventId,
      })
    }
  })

  it.each([1, 2])('a failed handler of %d has the exception on its span and only there', async (handlers) => {
    const { exporter, provider } = startSdk()
    trace.setGlobalTracerProvider(provider)
    const bus = new InMemoryEventBus({ logger: new RecordingLogger() })
    bus.subscribe(OrderCreated, async function failing() {
      await turn()
      throw new Error('out of paper')
    })
    if (handlers === 2) bus.subscribe(OrderCreated, function fine() {})

    await bus.publish([orderCreated()])

    const spans = exporter.getFinishedSpans()
    const failed = named(spans, 'handle failing')
    expect(failed.status).toEqual({ code: SpanStatusCode.ERROR, message: 'out of paper' })
    expect(failed.events[0]?.attributes?.['exception.message']).toBe('out of paper')
    expect(named(spans, 'memory.publish OrderCreated').status.code).toBe(SpanStatusCode.UNSET)
    expect(spans).toHaveLength(1 + handlers)
  })

  it('a handler that throws at once has it too', async () => {
    const { exporter, provider } = startSdk()
    trace.setGlobalTracerProvider(provider)
    const bus = new InMemoryEventBus({ logger: new RecordingLogger() })
    bus.subscribe(OrderCreated, function failing() {
      throw new Error('at once')
    })

    await bus.publish([orderCreated()])

    expect(named(exporter.getFinishedSpans(), 'handle failing').status.message).toBe('at once')
  })

  it('the span of a handler lasts until its thenable has settled', async () => {
    const { exporter, provider } = startSdk()
    trace.setGlobalTracerProvider(provider)
    const bus = new InMemoryEventBus()
    let openSpans = -1
    bus.subscribe(OrderCreated, function lazy() {
      return {
        // biome-ignore lint/suspicious/noThenProperty: a thenable is what the test is about.
        then: (resolve: () => void) => {
          openSpans = exporter.getFinishedSpans().length
          resolve()
        },
      }
    })

    await bus.publish([orderCreated()])

    expect(openSpans).toBe(0)
    expect(exporter.getFinishedSpans()).toHaveLength(2)
  })

  it("a handler's own spans are children of its span, and the whole is a child of the caller's", async () => {
    const { exporter, provider } = startSdk()
    trace.setGlobalTracerProvider(provider)
    const tracer = trace.getTracer('test')
    const bus = new InMemoryEventBus()
    bus.subscribe(OrderCreated, async function outer() {
      await turn()
      tracer.startSpan('query').end()
    })

    await tracer.startActiveSpan('request', async (request) => {
      await bus.publish([orderCreated()])
      request.end()
    })

    const spans = exporter.getFinishedSpans()
    const parentOf = (name: string) => named(spans, name).parentSpanContext?.spanId
    expect(parentOf('query')).toBe(named(spans, 'handle outer').spanContext().spanId)
    expect(parentOf('memory.publish OrderCreated')).toBe(named(spans, 'request').spanContext().spanId)
  })

  it('that is registered after the bus was made is used from then on', async () => {
    const { exporter, provider } = startSdk()
    const bus = new InMemoryEventBus()
    await bus.publish([orderCreated()])

    trace.setGlobalTracerProvider(provider)
    await bus.publish([orderCreated()])

    expect(exporter.getFinishedSpans()).toHaveLength(1)
  })

  it('a tracer that was passed in is used instead of the global one', async () => {
    const { exporter, provider } = startSdk()
    const bus = new InMemoryEventBus({ tracer: provider.getTracer('mine') })

    await bus.publish([orderCreated()])

    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(['memory.publish OrderCreated'])
  })

  it('enableTracing: false opens no span', async () => {
    const { exporter, provider } = startSdk()
    trace.setGlobalTracerProvider(provider)
    const bus = new InMemoryEventBus({ enableTracing: false })
    bus.subscribe(OrderCreated, () => undefined)

    await bus.publish([orderCreated()])

    expect(exporter.getFinishedSpans()).toEqual([])
    expect(bus.getStats().handlersInvoked).toBe(1)
  })
})

describe('without an OpenTelemetry SDK', () => {
  it('nothing is traced and nothing fails', async () => {
    const bus = new InMemoryEventBus()
    let isActive: boolean | undefined
    bus.subscribe(OrderCreated, () => {
      isActive = trace.getActiveSpan() !== undefined
    })

    await bus.publish([orderCreated()])

    expect(isActive).toBe(false)
    expect(bus.getStats()).toMatchObject({ handlersInvoked: 1, handlerErrors: 0 })
  })
})
