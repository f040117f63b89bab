import type { BusFaults } from './bus-under-test.ts'
import type { Capability } from './capabilities.ts'
import type { Scene } from './scene.ts'

export type FaultName = Exclude<keyof BusFaults, 'idleLimitMs'>

/** One test of the suite. */
export interface ConformanceTest {
  readonly name: string
  readonly needs: readonly Capability[]
  readonly faults: readonly FaultName[]
  readonly needsModule: boolean
  readonly run: (scene: Scene) => Promise<void>
}

interface Needs {
  readonly needs?: readonly Capability[]
  readonly faults?: readonly FaultName[]
  readonly needsModule?: boolean
}

/** A test that every bus must pass if it has the needed capabilities. */
export function test(
  name: string,
  { needs = [], faults = [], needsModule = false }: Needs,
  run: (scene: Scene) => Promise<void>,
): ConformanceTest {
  return { name, needs, faults, needsModule, run }
}
