export type { FieldsFirstLogger, LogFields, Logger } from './logger.ts'
