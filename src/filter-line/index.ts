// The filter lines that the command line and the operator's page share, and the texts of their values.
export { DEAD_LETTER_KEYS, deadLetterLine, writeDeadLetterLine } from './dead-letter-line.ts'
export { EVENT_KEYS, eventLine } from './event-line.ts'
export { UsageError } from './usage-error.ts'
export { ageOf, duration, integer, oneOf, place, rate, text, time, type ValueReader } from './values.ts'
