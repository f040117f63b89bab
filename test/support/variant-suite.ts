import { describe, expect, it } from 'vitest'
import type { SuiteRunner } from '../../src/testing/index.ts'

/** If set, each variant of a bus or of stores runs its whole conformance suite: `npm run test:variants`. */
const runsAll = process.env['EVENTSPINE_VARIANTS'] === 'all'

/** Tests of a suite by topic. A topic without names stands for all its tests. */
export type SuiteTests = Readonly<Record<string, readonly string[] | 'all'>>

/**
 * A runner for the second variant of something that has run the whole suite as its first variant. It omits these tests,
 * which run the same code with the same calls to the server in both variants. A new test of the suite runs on both. See
 * decision 0022.
 */
export function variantRunner(omitted: SuiteTests): SuiteRunner {
  if (runsAll) return { describe, it }
  const topics: string[] = []
  const met = new Set<string>()
  const isOmitted = (name: string): boolean => {
    const topic = topics.at(-1) ?? ''
    const tests: readonly string[] = omitted[topic] === 'all' ? [] : (omitted[topic] ?? [])
    const isListed = tests.includes(name)
    if (isListed) met.add(`${topic}: ${name}`)
    return isListed
  }
  const listed = Object.entries(omitted).flatMap(([topic, tests]) =>
    tests === 'all' ? [topic] : tests.map((name) => `${topic}: ${name}`),
  )
  const only: SuiteRunner['it'] = Object.assign(
    (name: string, body: () => Promise<void>, timeoutMs?: number) => {
      if (!isOmitted(name)) it(name, body, timeoutMs)
    },
    {
      skip: (name: string, body: () => Promise<void>) => {
        if (!isOmitted(name)) it.skip(name, body)
      },
    },
  )
  let isChecked = false
  return {
    describe: (topic, body) => {
      const isWholeSuite = !isChecked
      isChecked = true
      if (omitted[topic] === 'all') {
        met.add(topic) // Vitest refuses a topic without tests
        return undefined
      }
      return describe(topic, () => {
        topics.push(topic)
        body()
        topics.pop()
        if (!isWholeSuite) return
        it('omits only tests that the suite has', () =>
          expect([...met].toSorted()).toEqual(listed.toSorted()))
      })
    },
    it: only,
  }
}
