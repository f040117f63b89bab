import { pbkdf2 } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'

const VARIABLE = 'EVENTSPINE_TEST_PACE'
const SAMPLES = 3
const ITERATIONS = 400_000
/** Duration of a sample on an idle reference machine, on which all limits of the tests are ample, in milliseconds. */
const REFERENCE_MS = 130
/** libuv has four threads; more samples would queue. */
const MAX_PARALLEL = 4

const hash = promisify(pbkdf2)

/**
 * Measures how much slower this machine is than the reference, with all its cores busy, other work included. {@link paced}
 * then multiplies limits by that factor, in this process and in those that it starts. `EVENTSPINE_TEST_PACE=3` sets the factor
 * instead.
 */
export async function measurePace(): Promise<void> {
  if (process.env[VARIABLE] !== undefined) return
  let slowestMs = REFERENCE_MS
  for (let sample = 0; sample < SAMPLES; sample += 1) slowestMs = Math.max(slowestMs, await sampleMs())
  process.env[VARIABLE] = (slowestMs / REFERENCE_MS).toFixed(1)
}

/** The limit of a test or a wait on this machine. @param limitMs - the limit on the reference machine. */
export function paced(limitMs: number): number {
  return Math.ceil(limitMs * Number(process.env[VARIABLE] ?? 1))
}

async function sampleMs(): Promise<number> {
  const start = performance.now()
  const threads = Array.from({ length: Math.min(MAX_PARALLEL, availableParallelism()) })
  await Promise.all(threads.map(() => hash('pace', 'salt', ITERATIONS, 64, 'sha512')))
  return performance.now() - start
}
