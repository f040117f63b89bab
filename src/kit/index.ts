export { type OptionRule, resolveOptions } from './options.ts'
export { type RetryOptions, RetryPolicy } from './retry-policy.ts'
