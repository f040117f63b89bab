import { setTimeout as delay } from 'node:timers/promises'
import type { FaultFact } from './history.ts'
import type { LineQuality } from './line.ts'
import type { Trouble } from './messages.ts'
import type { Actor, Stage } from './stage.ts'

export interface FaultTools {
  readonly stage: Stage
  /** Waits until a started process consumes. */
  whenConsuming(actor: Actor): Promise<void>
  replayDeadLetters(): Promise<void>
}

/** Causes a fault, and resolves when it is over. */
export type Action = (scope: FaultScope, tools: FaultTools) => Promise<void>

/** Records the start and the end of one fault in the history. */
export class FaultScope {
  readonly #id: string
  readonly #tools: FaultTools

  constructor(id: string, tools: FaultTools) {
    this.#id = id
    this.#tools = tools
  }

  async during(
    targets: readonly string[],
    work: () => Promise<unknown>,
    { isPlanned = false } = {},
  ): Promise<void> {
    const { history } = this.#tools.stage.parts
    const fact: Pick<FaultFact, 'fault' | 'targets' | 'isPlanned'> = { fault: this.#id, targets, isPlanned }
    history.record({ kind: 'faultStarted', ...fact })
    try {
      await work()
    } finally {
      history.record({ kind: 'faultEnded', ...fact })
    }
  }
}

/** The targets of a fault that hits all processes. */
export const EVERYBODY = ['*']

/** The faults that need no rights over the broker. */
export const ACTIONS = {
  allConnectionsCut: (scope, { stage }) =>
    scope.during(EVERYBODY, async () => {
      for (const { line } of stage.actors) line.cut()
    }),

  oneConnectionCut: async (scope, { stage }) => {
    const actor = pick(stage, stage.actors)
    await scope.during([actor.name], async () => actor.line.cut())
  },

  blackHole: async (scope, { stage }) => {
    const actor = pick(stage, stage.actors)
    await scope.during([actor.name], async () => {
      actor.line.freeze()
      await delay(stage.parts.random.integer(1000, 5000))
      actor.line.thaw()
      // Frozen connections stay frozen: the bus must detect that.
    })
  },

  networkSlow: (scope, { stage }) =>
    degraded(scope, stage, {
      latencyMs: stage.parts.random.integer(50, 300),
      bytesPerSecond: stage.parts.random.integer(30_000, 200_000),
      chunksPerReset: Infinity,
    }),

  consumerKilledBeforeAck: (scope, tools) =>
    ended(scope, tools, pick(tools.stage, tools.stage.consumers), { kind: 'die' }),

  handlerExits: (scope, tools) =>
    ended(scope, tools, pick(tools.stage, tools.stage.consumers), { kind: 'exit' }),

  producerKilled: (scope, tools) =>
    ended(scope, tools, pick(tools.stage, tools.stage.producers), { kind: 'die' }),

  consumerBlocked: async (scope, { stage }) => {
    const actor = pick(stage, stage.consumers)
    const ms = 2 * stage.parts.leaseMs
    await scope.during([actor.name], async () => {
      actor.send({ kind: 'block', ms })
      await delay(ms + 500)
    })
  },

  // This excuses no other violation: one handler of one event fails, and holds back only its aggregate until then.
  handlerHangs: async (_scope, { stage }) => {
    pick(stage, stage.consumers).send({ kind: 'hang' })
    await delay(stage.parts.handlerTimeoutMs + 500)
  },

  consumerFrozenBeyondLease: (scope, { stage }) =>
    frozen(scope, pick(stage, stage.consumers), 2 * stage.parts.leaseMs),

  consumerFrozenShortly: (scope, { stage }) =>
    frozen(scope, pick(stage, stage.consumers), stage.parts.leaseMs / 3),

  consumerReplaced: async (scope, { stage, whenConsuming }) => {
    const actor = pick(stage, stage.consumers)
    const replace = async () => {
      await stage.stop(actor)
      await whenConsuming(await stage.start(actor.part))
    }
    await scope.during([actor.name], replace, { isPlanned: true })
  },

  consumerAdded: async (scope, { stage, whenConsuming }) => {
    const actor = pick(
      stage,
      stage.consumers.filter(({ part }) => !part.isAlone),
    )
    const exchange = async () => {
      const { consumerName } = actor.part
      await whenConsuming(await stage.start({ ...actor.part, consumerName: `${consumerName}+` }))
      await stage.stop(actor)
    }
    await scope.during([actor.name], exchange, { isPlanned: true })
  },

  deadLettersReplayed: (_scope, { replayDeadLetters }) => replayDeadLetters(),
} as const satisfies Readonly<Record<string, Action>>

/** Ends the process at its next opportunity: in a handler, between handling and acknowledging, or during a publish. */
async function ended(
  scope: FaultScope,
  { stage, whenConsuming }: FaultTools,
  actor: Actor,
  trouble: Trouble,
): Promise<void> {
  await scope.during([actor.name], async () => {
    actor.wasKilled = true
    actor.send(trouble)
    if (!(await actor.ended(3000))) actor.signal('SIGKILL')
    await actor.ended(3000)
    stage.recordEnd(actor)
  })
  const heir = await stage.start(actor.part)
  if (actor.part.role === 'consumer') await whenConsuming(heir)
}

/** Makes the network of one process slow for a while. */
export async function degraded(scope: FaultScope, stage: Stage, quality: LineQuality): Promise<void> {
  const { line, name } = pick(stage, stage.actors)
  await scope.during([name], async () => {
    line.degrade(quality)
    await delay(stage.parts.random.integer(2000, 4000))
    line.degrade(undefined)
  })
}

async function frozen(scope: FaultScope, actor: Actor, durationMs: number): Promise<void> {
  await scope.during([actor.name], async () => {
    actor.signal('SIGSTOP')
    await delay(durationMs)
    actor.signal('SIGCONT')
  })
}

function pick(stage: Stage, actors: readonly Actor[]): Actor {
  const [first, ...others] = actors
  if (first === undefined) throw new Error('there is nobody left to do it to')
  return stage.parts.random.pick([first, ...others])
}
