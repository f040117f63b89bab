/** The largest number in the id of an entry. */
export const MAX_NUMBER = 18446744073709551615n

/** True if Redis reads the text as the id of an entry. */
export function isEntryId(text: string): boolean {
  if (!/^\d{1,20}-\d{1,20}$/.test(text)) return false
  return text.split('-').every((number) => BigInt(number) <= MAX_NUMBER)
}

/** The position of an entry in the log, with the number of its stream if there are several. */
export function readPosition(text: string): { readonly id: string; readonly partition: number } | undefined {
  const [, id, partition = '0'] = /^(\d+-\d+)(?:\/(\d{1,9}))?$/.exec(text) ?? []
  return id !== undefined && isEntryId(id) ? { id, partition: Number(partition) } : undefined
}
