/** The first one and those that follow until the planted fault shows. */
const SEEDS = [7, 11, 13, 17, 19]

/**
 * Runs with one seed after another until the judge finds a planted fault. Whether a run shows it is chance: a consumer
 * that is killed may have nothing in flight. A fault that shows in four of five runs is missed by all of them in one of
 * 3,000 tests.
 * @returns the first result that shows the fault, otherwise the last one.
 */
export async function untilFound<R>(
  run: (seed: number) => Promise<R>,
  shows: (result: R) => boolean,
): Promise<R> {
  let result = await run(SEEDS[0] ?? 1)
  for (const seed of SEEDS.slice(1)) {
    if (shows(result)) break
    result = await run(seed)
  }
  return result
}
