/** A value of a filter line, in quotes if it needs them. */
export function quoted(value: string): string {
  return /^[^\s"]+$/.test(value) ? value : `"${value.replaceAll('"', '""')}"`
}
