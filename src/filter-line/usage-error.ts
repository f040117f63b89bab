/** A text that a person entered, such as an option of a command or a filter line, is wrong. */
export class UsageError extends Error {}
