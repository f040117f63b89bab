import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, it } from 'vitest'
import { InMemoryEventBus } from '../../../src/index.ts'
import { OrderCreated, orderCreated, orderShipped } from '../../support/order-events.ts'
import { RecordingLogger } from '../../support/recording-logger.ts'

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
  it('a publish has a span, each of its events a child of it, and each handler a child of that', async () => {
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
    const publish = named(spans, 'memory.publish OrderCreated')
    const consume = named(spans, 'memory.consume OrderCreated')
    expect(spans).toHaveLength(4)
    expect([publish.kind, consume.kind]).toEqual([SpanKind.PRODUCER, SpanKind.CONSUMER])
    expect(consume.parentSpanContext?.spanId).toBe(publish.spanContext().spanId)
    const shared = {
      'messaging.system': 'memory',
      'messaging.destination.name': 'memory',
      'messaging.message.id': event.eventId,
      'eventspine.event.type': 'OrderCreated',
      'eventspine.event.id': event.eventId,
      'eventspine.aggregate.id': 'Order-1',
      'eventspine.aggregate.type': 'Order',
    }
    expect(publish.attributes).toEqual({
      ...shared,
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'publish',
    })
    expect(consume.attributes).toEqual({
      ...shared,
      'messaging.operation.type': 'process',
      'messaging.operation.name': 'consume',
    })
    for (const handler of ['first', 'second']) {
      const span = named(spans, `handle ${handler}`)
      expect(span.kind).toBe(SpanKind.INTERNAL)
      expect(span.parentSpanContext?.spanId).toBe(consume.spanContext().spanId)
      expect(span.attributes).toEqual({
        'eventspine.handler.name': handler,
        'eventspine.attempt': 1,
        'eventspine.event.type': 'OrderCreated',
        'eventspine.event.id': event.eventId,
      })
    }
  })

  it.each([1, 2])(
    'of %d handlers, a failed one has the exception on its span and only there',
    async (handlers) => {
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
      expect(failed.attributes['error.type']).toBe('Error')
      for (const name of ['memory.publish OrderCreated', 'memory.consume OrderCreated']) {
        expect(named(spans, name).status.code).toBe(SpanStatusCode.UNSET)
      }
      expect(spans).toHaveLength(2 + handlers)
    },
  )

  it('a handler that throws synchronously has it, too', async () => {
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
    expect(exporter.getFinishedSpans()).toHaveLength(3)
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

  it('that is registered after the creation of the bus is used from then on', async () => {
    const { exporter, provider } = startSdk()
    const bus = new InMemoryEventBus()
    await bus.publish([orderCreated()])

    trace.setGlobalTracerProvider(provider)
    await bus.publish([orderCreated()])

    expect(exporter.getFinishedSpans()).toHaveLength(2)
  })

  it('a publish of several events is one span that counts them', async () => {
    const { exporter, provider } = startSdk()
    trace.setGlobalTracerProvider(provider)
    const bus = new InMemoryEventBus()

    await bus.publish([orderCreated(), orderCreated()])
    await bus.publish([orderCreated(), orderShipped()])

    const publishes = exporter.getFinishedSpans().filter(({ kind }) => kind === SpanKind.PRODUCER)
    expect(publishes.map(({ name }) => name)).toEqual([
      'memory.publish OrderCreated',
      'memory.publish memory',
    ])
    expect(publishes[0]?.attributes).toEqual({
      'messaging.system': 'memory',
      'messaging.destination.name': 'memory',
      'messaging.operation.type': 'send',
      'messaging.operation.name': 'publish',
      'messaging.batch.message_count': 2,
    })
  })

  it('creates no spans inside a span that was not sampled', async () => {
    const { exporter } = startSdk()
    const provider = new BasicTracerProvider({
      sampler: new ParentBasedSampler({ root: new AlwaysOffSampler() }),
      spanProcessors: [new SimpleSpanProcessor(exporter)],
    })
    const started: string[] = []
    const tracer = provider.getTracer('test')
    const bus = new InMemoryEventBus({
      tracer: {
        startActiveSpan: tracer.startActiveSpan.bind(tracer),
        startSpan: (name, options, parent) => {
          started.push(name)
          return tracer.startSpan(name, options, parent)
        },
      },
    })
    let isActive: boolean | undefined
    bus.subscribe(OrderCreated, function quiet() {
      isActive = trace.getActiveSpan()?.isRecording()
    })

    await bus.publish([orderCreated()])

    expect(started).toEqual(['memory.publish OrderCreated'])
    expect(isActive).toBe(false)
    expect(exporter.getFinishedSpans()).toEqual([])
  })

  it('a given tracer is used instead of the global one', async () => {
    const { exporter, provider } = startSdk()
    const bus = new InMemoryEventBus({ tracer: provider.getTracer('mine') })

    await bus.publish([orderCreated()])

    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual([
      'memory.consume OrderCreated',
      'memory.publish OrderCreated',
    ])
  })

  it('enableTracing: false creates no span', async () => {
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
