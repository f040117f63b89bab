import { defineEvent } from 'eventspine'
import type { Step } from '../harness.ts'

/** The rows of one store, and the resources that they need while they run. */
export interface StoreBench {
  readonly steps: readonly Step[]
  /** Of the server and the driver, by name. */
  readonly versions: Readonly<Record<string, string>>
  readonly close: () => Promise<void>
}

interface Payload {
  readonly customerId: string
  readonly total: number
  readonly lines: readonly { readonly sku: string; readonly count: number }[]
}

/** About 390 bytes of JSON with its envelope. */
export class OrderPlaced extends defineEvent<Payload>()({ type: 'OrderPlaced', aggregateType: 'Order' }) {}

export class OrderShipped extends defineEvent<{ readonly n: number }>()({
  type: 'OrderShipped',
  aggregateType: 'Order',
}) {}

let last = 0

/** An id that was not there before. */
export function freshId(): string {
  last += 1
  return `order-${process.pid}-${last}`
}

export function placed(aggregateId = freshId()): OrderPlaced {
  const lines = [
    { sku: 'A-1000', count: 1 },
    { sku: 'B-2000', count: 2 },
  ]
  return new OrderPlaced({ aggregateId, customerId: 'c-0001', total: 1234.5, lines })
}

export function placedTimes(count: number, aggregateId = freshId()): readonly OrderPlaced[] {
  return Array.from({ length: count }, () => placed(aggregateId))
}

/** `callers` at the same time, each doing one after the other until all `count` are done. */
export async function concurrently(
  count: number,
  callers: number,
  call: () => Promise<unknown>,
): Promise<void> {
  let started = 0
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (started < count) {
        started += 1
        await call()
      }
    }),
  )
}

/** Opens something at its first use, so that a row that is not run costs nothing. */
export function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opened: Promise<T> | undefined
  return () => {
    opened ??= open()
    return opened
  }
}

/** Milliseconds per call, on average. */
export async function timeOf(rounds: number, call: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  for (let round = 0; round < rounds; round += 1) await call()
  return (performance.now() - start) / rounds
}
