/** Fields of a log line. Never a payload, never a secret. */
export type LogFields = Readonly<Record<string, unknown>>

/** Receives log lines: a fixed message and its fields. `console` and most loggers have this shape. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/** A logger like pino's, which takes the fields before the message. */
export interface FieldsFirstLogger {
  /** Distinguishes this shape from {@link Logger}: pino's loggers have this method, `console` does not. */
  child(bindings: object): unknown
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
