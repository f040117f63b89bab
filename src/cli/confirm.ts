import { UsageError } from './exit-code.ts'
import type { BusTarget } from './target.ts'
import type { Terminal } from './terminal.ts'

/**
 * Asks before a change.
 * @returns false if the user declines.
 * @throws UsageError if nobody can be asked.
 */
export async function confirmed(
  { terminal, isYes }: { readonly terminal: Terminal; readonly isYes: boolean },
  { name, production = false }: Pick<BusTarget, 'name' | 'production'>,
  what: string,
): Promise<boolean> {
  if (isYes && !production) return true
  if (terminal.ask === undefined) {
    if (isYes) return true
    throw new UsageError(`This would ${what}. Nothing was done: add --yes.`)
  }
  const wanted = production ? (name ?? 'yes') : 'y'
  const answer = await terminal.ask(`${capital(what)}? Type ${wanted} to do it: `)
  return answer.trim() === wanted
}

const capital = (what: string) => `${what.charAt(0).toUpperCase()}${what.slice(1)}`
