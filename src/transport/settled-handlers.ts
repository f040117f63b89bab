/**
 * True if these settled handlers are what is recorded already. The number alone does not decide: an entry that holds
 * attempts changes in place.
 */
export function isRecorded(settledHandlers: readonly string[], recorded: readonly string[]): boolean {
  return (
    settledHandlers.length === recorded.length &&
    settledHandlers.every((entry, index) => entry === recorded[index])
  )
}
