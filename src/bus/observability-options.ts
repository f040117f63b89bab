import { booleanOption, type OptionRule, objectWith, optional } from './options.ts'

/** Rules of the options that say how a bus reports. */
export const observabilityRules = {
  propagateCausation: booleanOption,
  enableTracing: booleanOption,
  tracer: optional(objectWith('an OpenTelemetry tracer', 'startSpan')),
  enableMetrics: booleanOption,
  meter: optional(objectWith('an OpenTelemetry meter', 'createCounter', 'createHistogram')),
  logger: optional(objectWith('a logger with debug, info, warn and error', 'debug', 'info', 'warn', 'error')),
} satisfies Record<string, OptionRule>
