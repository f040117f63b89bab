import { describe, expect, it } from 'vitest'
import { ConfigError, EventRegistry, InMemoryEventBus } from '../../src/index.ts'

const construct = (options: unknown) => () => new InMemoryEventBus(options as object)

describe('the options of InMemoryEventBus', () => {
  it.each([
    [
      { enable_tracing: true },
      'InMemoryEventBus: enable_tracing is not an option; did you mean enableTracing?',
    ],
    [
      { handlerTimeout: 5 },
      'InMemoryEventBus: handlerTimeout is not an option; did you mean handlerTimeoutMs?',
    ],
    [{ loger: console }, 'InMemoryEventBus: loger is not an option; did you mean logger?'],
    [
      { redisUrl: 'redis://localhost' },
      'InMemoryEventBus: redisUrl is not an option (there are: enableTracing, tracer, logger, ' +
        'propagateCausation, enableMetrics, meter, registry, handlerTimeoutMs, maxBackgroundPublishes, shutdownTimeoutMs, keepLastEvents)',
    ],
    [{ constructor: 1 }, /^InMemoryEventBus: constructor is not an option/],
    [{ enableTracing: 'yes' }, 'InMemoryEventBus: enableTracing must be true or false, got "yes"'],
    [{ meter: {} }, 'InMemoryEventBus: meter must be an OpenTelemetry meter, got an object'],
    [{ tracer: {} }, 'InMemoryEventBus: tracer must be an OpenTelemetry tracer, got an object'],
    [
      { logger: { info() {} } },
      'InMemoryEventBus: logger must be a logger with debug, info, warn and error, got an object',
    ],
    [{ registry: new Map() }, 'InMemoryEventBus: registry must be an EventRegistry, got an instance of Map'],
    [
      { handlerTimeoutMs: 0 },
      'InMemoryEventBus: handlerTimeoutMs must be a positive integer of milliseconds (at most 2147483647), ' +
        'or Infinity for no limit, got 0',
    ],
    [
      { maxBackgroundPublishes: -1 },
      'InMemoryEventBus: maxBackgroundPublishes must be an integer of at least 0, got -1',
    ],
    [
      { shutdownTimeoutMs: '30s' },
      'InMemoryEventBus: shutdownTimeoutMs must be a positive integer of milliseconds (at most 2147483647), got "30s"',
    ],
    [5, 'InMemoryEventBus: the options must be an object, got 5'],
  ])('report the fault of %o in one sentence', (options, message) => {
    expect(construct(options)).toThrow(ConfigError)
    expect(construct(options)).toThrow(message)
  })

  it('report all faults together', () => {
    expect(construct({ handlerTimeoutMs: 0, maxBackgroundPublishes: 1.5 })).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        faults: [
          expect.stringContaining('handlerTimeoutMs'),
          expect.stringContaining('maxBackgroundPublishes'),
        ],
      }),
    )
  })

  it('that are undefined mean their defaults', () => {
    const options = { enableTracing: undefined, handlerTimeoutMs: undefined, logger: undefined }

    expect(construct(options)).not.toThrow()
    expect(construct(undefined)).not.toThrow()
  })

  it('may all be given', () => {
    const options = {
      enableTracing: false,
      logger: console,
      registry: new EventRegistry(),
      handlerTimeoutMs: Number.POSITIVE_INFINITY,
      maxBackgroundPublishes: 0,
      shutdownTimeoutMs: 1,
    }

    expect(construct(options)).not.toThrow()
  })
})
