export type { HealthStatus } from './health-status.ts'
export type { FieldsFirstLogger, LogFields, Logger } from './logger.ts'
