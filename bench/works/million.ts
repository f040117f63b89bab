// Rate and memory of one consumer that drains a backlog of 1,000,000 events in a separate process.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { sized } from '../arguments.ts'
import type { BrokerBench, Scene } from '../broker-bench.ts'
import { type BenchRow, inTime, rowOf, type Step } from '../harness.ts'
import type { Drain } from './drain.ts'
import type { Memory, Peaks } from './memory-samples.ts'

const run = promisify(execFile)
const WORK = 'drain a backlog of 1,000,000'

export function millionStep(bench: BrokerBench, url: string): Step {
  return {
    work: WORK,
    async run(bus) {
      const drained = async (side: 'ours' | 'raw', count: number) => {
        await using scene = await bench.backlog(count)
        return await inTime(WORK, () => drain({ bus, url, scene, side, count }))
      }
      const ours = await drained('ours', sized(1_000_000))
      const raw = await drained('raw', sized(bench.counts.rawDrain))
      return [
        rowOf({ bus, work: WORK, unit: 'events/s' }, [[ours.rate, raw.rate]]),
        rowOf({ bus, work: `${WORK}, peak resident memory`, unit: 'MiB' }, [[ours.rss.all, raw.rss.all]]),
        ...memoryRows(bus, ours),
      ]
    },
  }
}

/** The growth of the bus's memory: the peak of the whole run compared with the peak of the beginning. */
function memoryRows(bus: string, { heap, rss }: Memory): readonly BenchRow[] {
  const row = (work: string, { early, all }: Peaks) => rowOf({ bus, work, unit: 'MiB' }, [[all, early]])
  return [
    row('live heap over 1,000,000 events, vs the first 100,000', heap),
    row('resident memory over 1,000,000 events, vs the first 500,000', rss),
  ]
}

interface DrainOptions {
  readonly bus: string
  readonly url: string
  readonly scene: Scene
  readonly side: 'ours' | 'raw'
  readonly count: number
}

function drain({ bus, url, scene, side, count }: DrainOptions): Promise<Drain> {
  return inProcess('drain.ts', { bus, url, side, count, name: scene.name, group: scene.group })
}

/** Parses the last line that a program of this folder prints. */
async function inProcess<T>(program: string, order: object): Promise<T> {
  const path = fileURLToPath(new URL(program, import.meta.url))
  const { stdout } = await run(process.execPath, ['--expose-gc', path, JSON.stringify(order)])
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as T
}

/** 1,000,000 events through the in-memory bus. */
export function memoryStep(): Step {
  return {
    work: 'memory',
    run: async (bus) =>
      memoryRows(bus, await inProcess<Memory>('memory-million.ts', { count: sized(1_000_000) })),
  }
}
