/** Most letters that two names may differ in. */
const MOST = 2

/** The known name that was probably meant: one that starts like the given one, or differs in few letters. */
export function nearest(given: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll('_', '').slice(0, 60)
  const name = plain(given)
  const ranked = known.map((candidate) => {
    const other = plain(candidate)
    const isStart = other.startsWith(name) || name.startsWith(other)
    return { candidate, differs: isStart ? 1 : distance(other, name) }
  })
  const [best] = ranked.toSorted((a, b) => a.differs - b.differs)
  return best !== undefined && best.differs <= MOST ? best.candidate : undefined
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution))
    }
    row = next
  }
  return row[b.length] ?? 0
}
