import { inspect } from 'node:util'
import { toError } from '../errors.ts'
import type { FieldsFirstLogger, LogFields, Logger } from './logger.ts'
import { escapeControls, escapedFields } from './readable.ts'
import { SummarizingLogger } from './summarizing-logger.ts'

/** The logger to use: the given one, with pino's argument order adapted, or by default the warnings and errors on the console. */
export function resolveLogger(given: Logger | FieldsFirstLogger | undefined): SummarizingLogger {
  if (given instanceof SummarizingLogger) return given
  if (given === undefined) return new SummarizingLogger(consoleLogger)
  return new SummarizingLogger(neverThrowing(isFieldsFirst(given) ? adaptFieldsFirst(given) : given))
}

/**
 * Escapes control characters. If the logger throws, the line is written to the console, because the work that logs must
 * not fail.
 */
function neverThrowing(logger: Logger): Logger {
  const guarded =
    (level: keyof Logger): Logger['error'] =>
    (message, fields) => {
      try {
        logger[level](message, escapedFields(fields))
      } catch (error) {
        consoleLogger.error(message, fields)
        consoleLogger.error('logger failed', { error: toError(error) })
      }
    }
  return { debug: guarded('debug'), info: guarded('info'), warn: guarded('warn'), error: guarded('error') }
}

function isFieldsFirst(logger: Logger | FieldsFirstLogger): logger is FieldsFirstLogger {
  return 'child' in logger && typeof logger.child === 'function'
}

function adaptFieldsFirst(logger: FieldsFirstLogger): Logger {
  return {
    debug: (message, fields = {}) => logger.debug(withErr(fields), message),
    info: (message, fields = {}) => logger.info(withErr(fields), message),
    warn: (message, fields = {}) => logger.warn(withErr(fields), message),
    error: (message, fields = {}) => logger.error(withErr(fields), message),
  }
}

/** Renames the field `error` to `err`: pino and bunyan serialize an error only under this name, otherwise as `{}`. */
function withErr(fields: LogFields): LogFields {
  const { error, ...rest } = fields
  return error instanceof Error ? { ...rest, err: error } : fields
}

/** Warnings and errors on the console, one line each. */
const consoleLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: (message, fields) => console.warn(formatLine(message, fields)),
  error: (message, fields) => console.error(formatLine(message, fields)),
}

function formatLine(message: string, fields: LogFields = {}): string {
  const shown = Object.entries(fields).map(([key, value]) => ` ${key}=${formatField(value)}`)
  return escapeControls(`eventspine: ${message}${shown.join('')}`)
}

function formatField(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(`${value.name}: ${value.message}`)
  if (typeof value === 'string') return /^[\w.:/@#-]+$/.test(value) ? value : JSON.stringify(value)
  return typeof value === 'object' ? inspect(value, { breakLength: Number.POSITIVE_INFINITY }) : String(value)
}
