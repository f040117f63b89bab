export * from './codec/index.ts'
export { ConfigError, EventspineError } from './errors.ts'
export * from './events/index.ts'
