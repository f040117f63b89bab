import { readFileSync } from 'node:fs'
import { capabilitiesTable } from './capabilities.ts'
import { flagsPage } from './flags.ts'
import { noticesTable } from './notices.ts'
import { optionsPage } from './options.ts'
import { between } from './tables.ts'

const pageOf = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')

/** The generated pages and their texts, by name. */
export function referencePages(): ReadonlyMap<string, string> {
  return new Map([
    ['options.md', optionsPage()],
    ['flags.md', flagsPage()],
    [
      'writing-a-transport.md',
      between(pageOf('writing-a-transport.md'), 'capabilities', capabilitiesTable()),
    ],
    ['observability.md', between(pageOf('observability.md'), 'notices', noticesTable())],
  ])
}
