import { it } from 'vitest'

/**
 * Defines a test, or leaves it out if there is an obstacle. The name of a test that is left out ends with the reason, as in
 * the conformance suites. `npm run test:versions` lists these reasons, and fails if a test is left out without one.
 * @param obstacle - the reason, which starts with `lacks` or `needs`; undefined if the test can run.
 */
export function itUnless(
  obstacle: string | undefined,
  name: string,
  run: () => Promise<void>,
  timeoutMs?: number,
): void {
  if (obstacle === undefined) it(name, run, timeoutMs)
  else it.skip(`${name} (${obstacle})`)
}
