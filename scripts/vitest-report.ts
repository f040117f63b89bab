import { readFile } from 'node:fs/promises'

/** The parts of Vitest's report that the scripts read. Vitest writes it in the format of Jest's JSON report. */
export interface VitestReport {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[]
  }[]
}

/** The reason at the end of the name of a test that is left out. */
const reasonPattern = / \(((?:lacks|needs) .+)\)$/

export async function readVitestReport(path: string): Promise<VitestReport> {
  return JSON.parse(await readFile(path, 'utf8')) as VitestReport
}

/** @returns the number of tests left out for each reason, and the names of those without a reason. */
export function leftOut({ testResults }: VitestReport): {
  readonly reasons: ReadonlyMap<string, number>
  readonly unexplained: readonly string[]
} {
  const reasons = new Map<string, number>()
  const unexplained: string[] = []
  for (const { fullName, status } of testResults.flatMap(({ assertionResults }) => assertionResults)) {
    if (status === 'passed' || status === 'failed') continue
    const reason = reasonPattern.exec(fullName)?.[1]
    if (reason === undefined) unexplained.push(fullName)
    else reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  }
  return { reasons, unexplained }
}
