/** Fields of a log line. Never a payload, never a secret. */
export type LogFields = Readonly<Record<string, unknown>>

/** Where log lines go: a fixed sentence and its fields. `console` and most loggers fit. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/** pino and its like: fields first, then the message. */
export interface FieldsFirstLogger {
  /** What tells this shape from {@link Logger}: pino's loggers have it, `console` has not. */
  child(bindings: object): unknown
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
