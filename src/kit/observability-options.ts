import { booleanOption, type OptionRule, objectWith, optional } from './options.ts'

/** Rules of the options for tracing and logging. */
export const observabilityRules = {
  enableTracing: booleanOption,
  tracer: optional(objectWith('an OpenTelemetry tracer', 'startSpan')),
  logger: optional(objectWith('a logger with debug, info, warn and error', 'debug', 'info', 'warn', 'error')),
} satisfies Record<string, OptionRule>

/** Rules of the same options of a bus, which also has options for metrics and causation. */
export const busObservabilityRules = {
  ...observabilityRules,
  propagateCausation: booleanOption,
  enableMetrics: booleanOption,
  meter: optional(objectWith('an OpenTelemetry meter', 'createCounter', 'createHistogram')),
} satisfies Record<string, OptionRule>
