// Generates docs/options.md and the generated parts of other pages from the source. With --check, it writes nothing and
// exits with 1 if a page is stale.
import { readFileSync, writeFileSync } from 'node:fs'
import { referencePages } from './reference/pages.ts'

const isCheck = process.argv.includes('--check')

for (const [page, text] of referencePages()) {
  const file = new URL(`../docs/${page}`, import.meta.url)
  if (readFileSync(file, 'utf8') === text) continue
  console.log(isCheck ? `docs/${page} is stale: npm run docs:reference writes it` : `docs/${page} written`)
  if (isCheck) process.exitCode = 1
  else writeFileSync(file, text)
}
