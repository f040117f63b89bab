// A producer or a consumer in a separate process: node --expose-gc worker.ts
import type { WorkerOptions } from '../../src/verify/messages.ts'
import { startWorker } from '../../src/verify/worker.ts'
import { SecretWatch } from './secret-watch.ts'
import { createTortureBus, type TortureBusOptions } from './torture-bus.ts'

/** The options that the run passes to a process. */
export interface TortureWorkerOptions extends WorkerOptions {
  readonly bus: TortureBusOptions
}

startWorker(async ({ bus }: TortureWorkerOptions, history) => {
  const watch = new SecretWatch((what) => history.record({ kind: 'leaked', what }))
  return {
    bus: createTortureBus(bus, watch.logger),
    look: (what, value) => watch.look(what, value),
  }
})
