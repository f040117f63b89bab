import type { OptionTable, OptionValues } from './command.ts'
import { UsageError } from './exit-code.ts'
import type { Terminal } from './terminal.ts'

/** Options of the commands that print a list. */
export const listFormatOptions = {
  json: { about: 'print JSON' },
  jsonl: { about: 'print one JSON object per line' },
} as const satisfies OptionTable

/** How a list is printed. */
export type ListFormat = 'table' | 'json' | 'jsonl'

/** @throws UsageError */
export function listFormatOf({ json, jsonl }: OptionValues<typeof listFormatOptions>): ListFormat {
  if (json && jsonl) throw new UsageError('Give one of --json and --jsonl.')
  if (jsonl) return 'jsonl'
  return json ? 'json' : 'table'
}

/**
 * Prints a list for a program: its items as objects of one line each, or as one object that has them under a name.
 * @param others - what the one object has besides.
 */
export async function printList(
  terminal: Terminal,
  format: 'json' | 'jsonl',
  list: { readonly name: string; readonly items: readonly object[]; readonly others?: object },
): Promise<void> {
  const { name, items, others } = list
  if (format === 'json') return terminal.out(JSON.stringify({ version: 1, ...others, [name]: items }))
  for (const item of items) await terminal.out(JSON.stringify({ version: 1, ...item }))
}
