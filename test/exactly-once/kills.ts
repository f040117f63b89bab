import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('./order-program.ts', import.meta.url))

/** Tables of a user, in SQL for both stores. `id` is the order of the effects. */
export const tables = (prefix: string, id: string): string =>
  `create table ${prefix}orders (n integer); create table ${prefix}effects (id ${id}, n integer)`

export interface KillRun {
  readonly kind: 'sqlite' | 'postgres'
  /** A file, or a URL. */
  readonly address: string
  readonly schema: string
  readonly orders: number
  readonly seed: number
  readonly kills: number
  readonly fault?: 'two-transactions'
}

/** Runs the program until it ends by itself. It kills itself at most `kills` times. @returns how often it did. */
export async function runWithKills({
  kind,
  address,
  schema,
  orders,
  seed,
  kills,
  fault,
}: KillRun): Promise<number> {
  for (let run = 0; ; run += 1) {
    const oneIn = run < kills ? Math.ceil((orders * 3) / kills) : 0
    const values = [kind, address, schema, orders, seed + run, oneIn].map(String)
    const child = spawn(process.execPath, [PROGRAM, ...values, ...(fault === undefined ? [] : [fault])], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    const [code, signal]: (number | string | null)[] = await once(child, 'close')
    if (code === 0) return run
    if (signal !== 'SIGKILL') throw new Error(`the program ended with ${code ?? signal}`)
  }
}

/** @returns one sentence for each order without exactly one effect, and each effect out of order or without an order. */
export function judge(
  expected: number,
  orders: readonly number[],
  effects: readonly number[],
): readonly string[] {
  const faults: string[] = []
  const committed = Array.from({ length: expected }, (_, n) => n).filter((n) => n % 10 !== 9)
  if (orders.toSorted((a, b) => a - b).join() !== committed.join())
    faults.push('orders are missing, or twice')
  for (const n of orders) {
    const count = effects.filter((effect) => effect === n).length
    if (count !== 1) faults.push(`order ${n} has ${count} effects`)
  }
  for (const n of new Set(effects)) if (!orders.includes(n)) faults.push(`effect ${n} has no committed order`)
  const last = new Map<number, number>()
  for (const n of effects) {
    if (n < (last.get(n % 7) ?? 0)) faults.push(`effect ${n} is out of order`)
    last.set(n % 7, n)
  }
  return faults
}
