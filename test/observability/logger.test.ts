import { afterEach, describe, expect, it, vi } from 'vitest'
import { defineEvent, type FieldsFirstLogger, InMemoryEventBus } from '../../src/index.ts'
import { OrderCreated, orderCreated } from '../support/order-events.ts'
import { RecordingLogger } from '../support/recording-logger.ts'

const failing = function invoicing() {
  throw new Error('out of paper')
}

/** Publishes one event whose handler fails, to a bus with this logger. */
async function failOnce(logger?: ConstructorParameters<typeof InMemoryEventBus>[0]) {
  const bus = new InMemoryEventBus(logger)
  bus.subscribe(OrderCreated, failing)
  const event = orderCreated()
  await bus.publish([event])
  return event
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the logger', () => {
  it('is the console by default, one line each', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => undefined)

    const { eventId } = await failOnce()

    expect(error.mock.calls).toEqual([
      [
        `eventspine: handler failed eventId=${eventId} eventType=OrderCreated handlerName=invoicing ` +
          'error="Error: out of paper"',
      ],
    ])
  })

  it('may be the console itself: message first, then the fields', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => undefined)

    await failOnce({ logger: console })

    expect(error).toHaveBeenCalledExactlyOnceWith(
      'handler failed',
      expect.objectContaining({ handlerName: 'invoicing', error: new Error('out of paper') }),
    )
  })

  it('may have the shape of pino: fields first, then the message', async () => {
    const calls: unknown[][] = []
    // A logger like pino's: methods that need their `this`, with fields before the message.
    class PinoLike implements FieldsFirstLogger {
      readonly #calls = calls
      child(): PinoLike {
        return this
      }
      debug(...call: unknown[]): void {
        this.#calls.push(['debug', ...call])
      }
      info(...call: unknown[]): void {
        this.#calls.push(['info', ...call])
      }
      warn(...call: unknown[]): void {
        this.#calls.push(['warn', ...call])
      }
      error(...call: unknown[]): void {
        this.#calls.push(['error', ...call])
      }
    }

    await failOnce({ logger: new PinoLike() })

    expect(calls).toEqual([
      [
        'error',
        // pino shows the message and the stack of this field.
        expect.objectContaining({ handlerName: 'invoicing', err: new Error('out of paper') }),
        'handler failed',
      ],
    ])
  })

  it('escapes characters on the console that a terminal would interpret', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const bus = new InMemoryEventBus()
    bus.subscribe(
      OrderCreated,
      () => {
        throw new Error('C0 \u001b[2J, C1 \u009b2J, bidi \u202e\u2066\u200f\u061c, lines \u2028\u0085')
      },
      { name: 'invoicing' },
    )

    await bus.publish([orderCreated()])

    const [[line] = []] = error.mock.calls
    expect(line).toContain('C1 \\u009b2J, bidi \\u202e\\u2066\\u200f\\u061c, lines \\u2028\\u0085')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for them.
    expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202e\u2066\u2028]/)
  })

  it('gives texts from outside to a logger cut and escaped', async () => {
    const logger = new RecordingLogger()
    const bus = new InMemoryEventBus({ logger })
    const Long = defineEvent<object>()({ type: `h${'\u202e'.repeat(4000)}`, aggregateType: 'Order' })
    bus.subscribe(Long, failing, { name: 'invoicing' })

    await bus.publish([new Long({ aggregateId: '1' })])

    const { eventType } = logger.lines[0]?.fields ?? {}
    expect(eventType).toMatch(/^h(\\u202e){996}\.\.\.$/)
  })

  it('that throws does not fail a publish; its line goes to the console', async () => {
    const error = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const broken = () => {
      throw new Error('disk full')
    }

    await failOnce({ logger: { debug: broken, info: broken, warn: broken, error: broken } })

    expect(error.mock.calls).toEqual([
      [expect.stringMatching(/^eventspine: handler failed .*handlerName=invoicing/)],
      ['eventspine: logger failed error="Error: disk full"'],
    ])
  })
})
