export { MiddlewareError } from './middleware.ts'
export { type OptionRule, resolveOptions } from './options.ts'
export { checkPlace, NUMBERED, wrongCursor } from './places.ts'
export { type RetryOptions, RetryPolicy } from './retry-policy.ts'
