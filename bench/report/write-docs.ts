import { mkdirSync, writeFileSync } from 'node:fs'
import { type BenchResult, loadResults } from '../results.ts'
import { chartOf } from './chart.ts'
import { inOrder, pageOf } from './page.ts'

const docs = new URL('../../docs/', import.meta.url)

/** The files under docs/ that are generated from the results, by path. */
export function docsOf(results: readonly BenchResult[]): ReadonlyMap<string, string> {
  return new Map([
    ['benchmarks.md', pageOf(results)],
    ...inOrder(results).map((result) => [`charts/${result.bus}.svg`, chartOf(result)] as const),
  ])
}

export function writeDocs(): void {
  mkdirSync(new URL('charts/', docs), { recursive: true })
  for (const [path, content] of docsOf(loadResults())) writeFileSync(new URL(path, docs), content)
}
