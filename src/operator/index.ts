// The operator's page. The main entry point loads nothing of it.
import '../node-version.ts'

export type { OperatorAudit, OperatorAuditEntry } from './activity.ts'
export { createOperatorHandler, type OperatorHandler } from './handler.ts'
export type { MaskOptions } from './mask.ts'
export { type OperatorListener, operatorListener } from './node-listener.ts'
export type { OperatorOptions } from './options.ts'
export type { Place, Verb, Viewer } from './viewer.ts'
