import type { StoresPlace } from '../../support/stores-of.ts'

export const ROLES = ['producer', 'relay', 'consumer', 'projector'] as const

export type Role = (typeof ROLES)[number]

/** What a process is doing when it kills itself. Each life of a process has one of them as its end, chosen by the seed. */
export const PHASES = {
  producer: ['before the commit', 'in the commit', 'after the commit'],
  relay: ['before the publish', 'in the publish', 'after the confirmation', 'in the save of the checkpoint'],
  consumer: ['before the commit', 'in the commit', 'after the commit', 'in the acknowledgment'],
  projector: ['before the commit', 'in the commit'],
} as const satisfies Record<Role, readonly string[]>

export type Phase = (typeof PHASES)[Role][number]

/** Number of aggregates; the events of each are ordered. */
export const CUSTOMERS = 7

/** Every tenth order is never committed. */
export const isCanceled = (n: number): boolean => n % 10 === 9

/** The name of a table of the run in SQL. */
export function tableName(place: StoresPlace, table: string): string {
  return 'file' in place ? table : `${place.schema}.${table}`
}

/** The rows of the tables, each in the order of its commits. */
export interface EffectTables {
  readonly orders: readonly number[]
  /** Of the handler behind outbox, relay, bus and inbox. */
  readonly effects: readonly number[]
  /** Of the projection of the event store. */
  readonly projected: readonly number[]
}

/** @returns a sentence for each order without exactly one effect, and each effect that is out of order or has no order. */
export function judgeEffects(placed: number, tables: EffectTables): readonly string[] {
  const faults: string[] = []
  const committed = Array.from({ length: placed }, (_, n) => n).filter((n) => !isCanceled(n))
  if (tables.orders.toSorted((a, b) => a - b).join() !== committed.join())
    faults.push('orders are missing, or are there twice')
  for (const table of ['effects', 'projected'] as const) faults.push(...judgeTable(table, tables))
  return faults
}

function judgeTable(name: 'effects' | 'projected', tables: EffectTables): readonly string[] {
  const faults: string[] = []
  const rows = tables[name]
  const counts = new Map<number, number>()
  for (const n of rows) counts.set(n, (counts.get(n) ?? 0) + 1)
  for (const n of tables.orders) {
    const count = counts.get(n) ?? 0
    if (count !== 1) faults.push(`order ${n} has ${count} ${name}`)
  }
  const orders = new Set(tables.orders)
  for (const n of counts.keys()) if (!orders.has(n)) faults.push(`${name} ${n} has no committed order`)
  const last = new Map<number, number>()
  for (const n of rows) {
    const customer = n % CUSTOMERS
    if (n < (last.get(customer) ?? 0)) faults.push(`${name} ${n} is out of order`)
    last.set(customer, n)
  }
  return faults
}
