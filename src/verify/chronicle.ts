import type {
  BrokerEndFact,
  DeadLetterFact,
  Fact,
  FaultFact,
  HandlerFact,
  LateFact,
  LeakFact,
  StatsFact,
  UnhandledFact,
} from './history.ts'

/** The outcome of one published event, as its publisher knows it. */
export interface Publication {
  readonly event: string
  readonly aggregate: string
  readonly n: number
  readonly isPoison?: boolean
  readonly type?: string
  readonly process: string
  readonly publishedAt: number
  outcome: 'confirmed' | 'notStored' | 'unknown' | 'open'
  settledAt: number
}

/** One run of one handler. */
export interface Run {
  readonly process: string
  readonly group: string
  readonly handler: string
  readonly event: string
  readonly aggregate: string
  readonly n: number
  readonly attempt: number
  readonly startedAt: number
  outcome: 'finished' | 'failed' | 'open'
  endedAt: number
}

export interface Fault {
  readonly name: string
  readonly targets: readonly string[]
  readonly isPlanned: boolean
  readonly startedAt: number
  endedAt: number
}

export interface ProcessLife {
  readonly name: string
  group: string | undefined
  consumingAt: number
  endedAt: number
  exitCode: number | null | undefined
  wasKilled: boolean
  output: string
  stats: StatsFact | undefined
}

/** A history in order: which process did what to which event. */
export class Chronicle {
  readonly facts: readonly Fact[]
  readonly publications = new Map<string, Publication>()
  readonly runs: Run[] = []
  readonly letters: DeadLetterFact[] = []
  readonly replays: DeadLetterFact[] = []
  readonly faults: Fault[] = []
  readonly processes = new Map<string, ProcessLife>()
  readonly unhandled: UnhandledFact[] = []
  readonly leaks: LeakFact[] = []
  readonly brokerEnds: BrokerEndFact[] = []
  readonly #lateness: LateFact[] = []
  readonly #open = new Map<string, Run>()
  readonly #byEvent = new Map<string, Fact[]>()

  constructor(facts: readonly Fact[]) {
    this.facts = facts.toSorted((a, b) => a.at - b.at)
    for (const fact of this.facts) this.#take(fact)
  }

  get endedAt(): number {
    return this.facts.at(-1)?.at ?? 0
  }

  /** Faults that can cause a second delivery, as opposed to planned changes. */
  get realFaults(): readonly Fault[] {
    return this.faults.filter(({ isPlanned }) => !isPlanned)
  }

  /**
   * How long a process, or the run itself, was starved of CPU within a period: milliseconds of the most affected one.
   * Effects of a fault on a process are left out, because they are no excuse.
   */
  lateness(isMeant: (process: string) => boolean, from: number, to: number): number {
    const missed = new Map<string, number>()
    for (const { process, at, ms, overMs } of this.#lateness) {
      if ((process !== 'run' && !isMeant(process)) || at < from || at - overMs > to) continue
      const isFault = this.realFaults.some(
        (fault) => fault.targets.includes(process) && overlaps(fault, at - overMs, at),
      )
      if (!isFault) missed.set(process, (missed.get(process) ?? 0) + ms)
    }
    return Math.max(0, ...missed.values())
  }

  /** All facts about an event, one per line, with the faults that hit the run in between. */
  storyOf(event: string): readonly string[] {
    const own = this.#byEvent.get(event) ?? []
    const from = own[0]?.at ?? 0
    const to = own.at(-1)?.at ?? 0
    const around = this.facts.filter(
      (fact) => 'fault' in fact && fact.at >= from - 1000 && fact.at <= to + 1000,
    )
    const start = this.facts[0]?.at ?? 0
    return [...own, ...around].toSorted((a, b) => a.at - b.at).map((fact) => describe(fact, start))
  }

  #take(fact: Fact): void {
    if ('event' in fact) this.#listOf(fact.event).push(fact)
    switch (fact.kind) {
      case 'published':
        this.publications.set(fact.event, {
          ...fact,
          publishedAt: fact.at,
          outcome: 'open',
          settledAt: Infinity,
        })
        break
      case 'confirmed':
      case 'notStored':
      case 'unknown': {
        const publication = this.publications.get(fact.event)
        if (publication) Object.assign(publication, { outcome: fact.kind, settledAt: fact.at })
        break
      }
      case 'started':
        this.#start(fact)
        break
      case 'finished':
      case 'failed':
        this.#end(fact, fact.kind)
        break
      case 'deadLettered':
        this.letters.push(fact)
        break
      case 'replayed':
        this.replays.push(fact)
        break
      case 'faultStarted':
      case 'faultEnded':
        this.#fault(fact)
        break
      case 'consuming':
        Object.assign(this.#life(fact.process), { group: fact.group, consumingAt: fact.at })
        break
      case 'processEnded':
        Object.assign(this.#life(fact.process), { ...fact, endedAt: fact.at })
        break
      case 'stats':
        this.#life(fact.process).stats = fact
        break
      case 'late':
        this.#lateness.push(fact)
        break
      case 'unhandled':
        this.unhandled.push(fact)
        break
      case 'leaked':
        this.leaks.push(fact)
        break
      case 'brokerEnd':
        this.brokerEnds.push(fact)
    }
  }

  #start({ at, ...fact }: HandlerFact): void {
    const run: Run = { ...fact, startedAt: at, outcome: 'open', endedAt: Infinity }
    this.runs.push(run)
    this.#open.set(runKey(fact), run)
  }

  #end(fact: HandlerFact, outcome: 'finished' | 'failed'): void {
    const run = this.#open.get(runKey(fact))
    if (run) Object.assign(run, { outcome, endedAt: fact.at })
  }

  #fault({ kind, at, fault: name, targets, isPlanned }: FaultFact): void {
    if (kind === 'faultStarted')
      this.faults.push({ name, targets, isPlanned, startedAt: at, endedAt: Infinity })
    const open = this.faults.find((fault) => fault.name === name)
    if (open && kind === 'faultEnded') open.endedAt = at
  }

  #life(name: string): ProcessLife {
    const life = this.processes.get(name) ?? {
      name,
      group: undefined,
      consumingAt: 0,
      endedAt: Infinity,
      exitCode: undefined,
      wasKilled: false,
      output: '',
      stats: undefined,
    }
    this.processes.set(name, life)
    return life
  }

  #listOf(event: string): Fact[] {
    const list = this.#byEvent.get(event) ?? []
    this.#byEvent.set(event, list)
    return list
  }
}

export function hits(fault: Fault, ...processes: readonly string[]): boolean {
  return fault.targets.some((target) => target === '*' || processes.includes(target))
}

export function overlaps(fault: Fault, from: number, to: number): boolean {
  return fault.startedAt <= to && fault.endedAt >= from
}

function runKey({ process, group, handler, event }: Omit<HandlerFact, 'at' | 'kind'>): string {
  return `${process} ${group} ${handler} ${event}`
}

function describe(fact: Fact, start: number): string {
  const { at, process, kind, ...rest } = fact
  const values = Object.entries(rest).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`)
  return `${((at - start) / 1000).toFixed(3).padStart(9)} s  ${process} ${kind}${values.join('')}`
}
