// A producer or a consumer of eventspine verify, which starts it.

import { createdQueues } from '../../rabbitmq/client/created-queues.ts'
import type { WorkerOptions } from '../../verify/messages.ts'
import { OwnSockets } from '../../verify/sockets.ts'
import { startWorker } from '../../verify/worker.ts'
import { loadHandlers } from './load-handlers.ts'
import { type NamedBus, targetOf } from './named-bus.ts'
import { createVerifyBus } from './verify-bus.ts'

export interface ProcessOptions extends WorkerOptions {
  readonly bus: NamedBus
  readonly prefix: string
  readonly partitions: number | undefined
  /** Absolute path of the user's module. */
  readonly handlers: string | undefined
}

const sockets = new OwnSockets()

startWorker(async ({ bus, part, prefix, partitions, handlers }: ProcessOptions, history) => {
  createdQueues.subscribe((name) => history.record({ kind: 'created', name: String(name) }))
  const user = handlers === undefined ? undefined : await loadHandlers(handlers)
  const { group: consumerGroup, consumerName, isAlone } = part
  const options = { prefix, consumerGroup, consumerName, isAlone, partitions }
  return {
    bus: createVerifyBus(await targetOf(bus), options, user === undefined),
    changeLine: (change) => sockets.change(change),
    user,
  }
})
