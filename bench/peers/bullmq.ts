import { randomUUID } from 'node:crypto'
import { sized } from '../arguments.ts'
import { orderEvents } from '../order.ts'
import { Arrivals } from '../works/arrivals.ts'
import { inBatches } from '../works/publish.ts'
import type { BothEnds } from './both-ends.ts'

/** Importing by a variable avoids loading the package's types, which need clients that are not installed. */
const PACKAGE: string = 'bullmq'

interface BullLibrary {
  readonly Queue: new (name: string, options: object) => BullQueue
  readonly Worker: new (name: string, handle: (job: BullJob) => Promise<void>, options: object) => BullWorker
}

interface BullJob {
  readonly data: { readonly total: number }
}

interface BullQueue {
  waitUntilReady(): Promise<unknown>
  addBulk(jobs: readonly { readonly name: string; readonly data: object }[]): Promise<unknown>
  obliterate(options: { readonly force: boolean }): Promise<void>
  close(): Promise<void>
}

interface BullWorker {
  close(): Promise<void>
}

/** Adds jobs in bulk, then processes them with one worker, 100 at a time. */
export async function throughBullMq(url: string): Promise<BothEnds> {
  // The package exports these names.
  const { Queue, Worker } = (await import(PACKAGE)) as BullLibrary
  const { hostname: host, port } = new URL(url)
  const connection = { host, port: Number(port || 6379), maxRetriesPerRequest: null }
  const events = orderEvents(sized(5000))
  const name = `bench-${randomUUID()}`
  const queue = new Queue(name, { connection, defaultJobOptions: { removeOnComplete: true } })
  await queue.waitUntilReady()
  const publish = await inBatches(events, 100, {
    publish: (batch) => queue.addBulk(batch.map((event) => ({ name: event.eventType, data: event }))),
  })
  const arrivals = new Arrivals(events.length)
  const worker = new Worker(name, async ({ data }) => arrivals.note(data), { connection, concurrency: 100 })
  const consume = await arrivals.whenAll
  await worker.close()
  await queue.obliterate({ force: true })
  await queue.close()
  return { publish, consume }
}
