import type { TimedFact } from './facts.ts'

/** An event of the table as it is in the end, in the order of positions. */
export interface TableEvent {
  readonly id: string
  readonly stream: string
  readonly version: number
  /** How often a flaky handler fails with it. */
  readonly failures: number
}

export interface StoreRules {
  /** The handlers of each subscription. */
  readonly handlers: Readonly<Record<string, readonly string[]>>
  /** More failures than this, and an event is parked. */
  readonly maxRetries: number
  /** Events of a subscription that may be handled again for each fault. */
  readonly repeatedPerFault: number
}

/** Judges the history of a run. Every sentence is a broken promise. */
export function judgeStores(
  facts: readonly TimedFact[],
  table: readonly TableEvent[],
  rules: StoreRules,
): readonly string[] {
  return [
    ...judgeWrites(facts, table),
    ...judgeVersions(table),
    ...Object.entries(rules.handlers).flatMap(([subscription, handlers]) =>
      handlers.flatMap((handler) => judgeHandler(facts, table, rules, { subscription, handler })),
    ),
    ...judgeEnds(facts),
  ]
}

function judgeWrites(facts: readonly TimedFact[], table: readonly TableEvent[]): readonly string[] {
  const there = new Set(table.map(({ id }) => id))
  const idsOf = (kind: TimedFact['kind']) =>
    facts.flatMap((fact) => (fact.kind === kind && 'ids' in fact ? fact.ids : []))
  const missing = idsOf('stored').filter((id) => !there.has(id))
  const undone = idsOf('notStored').filter((id) => there.has(id))
  return [
    ...(there.size < table.length ? [`${table.length - there.size} event ids are stored twice`] : []),
    ...few('a confirmed event is missing', missing),
    ...few('an event is stored that was rolled back', undone),
  ]
}

function judgeVersions(table: readonly TableEvent[]): readonly string[] {
  return [...Map.groupBy(table, ({ stream }) => stream)].flatMap(([stream, events]) => {
    const wrong = events.find(({ version }, index) => version !== index + 1)
    return wrong === undefined ? [] : [`${stream} has version ${wrong.version} out of order`]
  })
}

function judgeHandler(
  facts: readonly TimedFact[],
  table: readonly TableEvent[],
  { maxRetries, repeatedPerFault }: StoreRules,
  { subscription, handler }: { readonly subscription: string; readonly handler: string },
): readonly string[] {
  const name = `${subscription}/${handler}`
  const runs = facts.flatMap((fact) =>
    fact.kind === 'handled' && fact.subscription === subscription && fact.handler === handler
      ? [fact.id]
      : [],
  )
  const first = [...new Set(runs)]
  const handled = new Set(first)
  const byId = new Map(table.map((event) => [event.id, event]))
  const isPoison = (event: TableEvent) => handler === 'flaky' && event.failures > maxRetries
  const parked = new Set(
    facts.flatMap((fact) => (fact.kind === 'parked' && fact.subscription === subscription ? [fact.id] : [])),
  )
  const owed = table.filter((event) => (isPoison(event) ? !parked.has(event.id) : !handled.has(event.id)))
  const repeated = runs.length - first.length
  const faults = facts.filter(({ kind }) => kind === 'fault').length
  return [
    ...few(
      `${name} lost an event`,
      owed.map(({ id }) => id),
    ),
    ...few(
      `${name} handled an event that is not stored`,
      first.filter((id) => !byId.has(id)),
    ),
    ...few(`${name} handled an event before an earlier one of its stream`, overtakers(first, byId)),
    ...(repeated > faults * repeatedPerFault
      ? [`${name} handled ${repeated} events again at ${faults} faults`]
      : []),
  ]
}

/** Events that were first handled after a later one of their stream. */
function overtakers(first: readonly string[], byId: ReadonlyMap<string, TableEvent>): readonly string[] {
  const last = new Map<string, number>()
  return first.filter((id) => {
    const event = byId.get(id)
    if (event === undefined) return false
    const before = last.get(event.stream) ?? 0
    last.set(event.stream, Math.max(before, event.version))
    return event.version < before
  })
}

function judgeEnds(facts: readonly TimedFact[]): readonly string[] {
  return facts.flatMap((fact) => {
    if (fact.kind === 'leaked') return [`the password is in the ${fact.what}`]
    if (fact.kind === 'unsettled') return [`${fact.subscription} did not catch up in time`]
    if (fact.kind !== 'ended' || fact.exitCode === 0) return []
    return [`${fact.process} ended with ${fact.exitCode}: ${fact.output}`]
  })
}

const few = (what: string, ids: readonly string[]): readonly string[] =>
  ids.length === 0 ? [] : [`${what}: ${ids.length} times, the first is ${ids[0]}`]
