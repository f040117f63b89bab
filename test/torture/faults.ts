import { setTimeout as delay } from 'node:timers/promises'
import type { LineQuality } from '../support/tcp-proxy.ts'
import type { FaultFact } from './history.ts'
import type { Actor, Stage } from './stage.ts'
import { HANDLER_TIMEOUT_MS, LEASE_MS } from './torture-bus.ts'
import type { Trouble } from './worker.ts'

/** The faults that can hit a run. */
export const FAULTS = [
  'brokerKilled',
  'brokerRestarted',
  'brokerFrozen',
  'allConnectionsCut',
  'oneConnectionCut',
  'blackHole',
  'networkSlow',
  'networkBreaksInside',
  'consumerKilledBeforeAck',
  'consumerFrozenBeyondLease',
  'consumerFrozenShortly',
  'consumerBlocked',
  'handlerExits',
  'handlerHangs',
  'producerKilled',
  'consumerReplaced',
  'consumerAdded',
  'deadLettersReplayed',
] as const

export type FaultName = (typeof FAULTS)[number]

export interface FaultTools {
  readonly stage: Stage
  /** Waits until a started process consumes. */
  whenConsuming(actor: Actor): Promise<void>
  replayDeadLetters(): Promise<void>
}

/** Causes the fault, and resolves when it is over. Records its start and end in the history. */
export async function inflict(name: FaultName, id: string, tools: FaultTools): Promise<void> {
  await ACTIONS[name](new FaultScope(id, tools), tools)
}

type Action = (scope: FaultScope, tools: FaultTools) => Promise<void>

/** Records the start and the end of one fault. */
class FaultScope {
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

const EVERYBODY = ['*']

const ACTIONS: Readonly<Record<FaultName, Action>> = {
  brokerKilled: (scope, { stage }) =>
    scope.during(EVERYBODY, async () => {
      await stage.parts.broker.kill()
      await delay(stage.parts.random.integer(0, 2000))
      await stage.parts.broker.start()
    }),

  brokerRestarted: (scope, { stage }) => scope.during(EVERYBODY, () => stage.parts.broker.restart()),

  brokerFrozen: (scope, { stage }) =>
    scope.during(EVERYBODY, async () => {
      await stage.parts.broker.freeze()
      await delay(stage.parts.random.integer(500, 5000))
      await stage.parts.broker.thaw()
    }),

  allConnectionsCut: (scope, { stage }) =>
    scope.during(EVERYBODY, async () => {
      for (const { proxy } of stage.actors) proxy.cut()
    }),

  oneConnectionCut: async (scope, { stage }) => {
    const actor = pick(stage, stage.actors)
    await scope.during([actor.name], async () => actor.proxy.cut())
  },

  blackHole: async (scope, { stage }) => {
    const actor = pick(stage, stage.actors)
    await scope.during([actor.name], async () => {
      actor.proxy.freeze()
      await delay(stage.parts.random.integer(1000, 5000))
      actor.proxy.thaw()
      // Frozen connections stay frozen: the bus must detect that.
    })
  },

  networkSlow: (scope, { stage }) =>
    degraded(scope, stage, {
      latencyMs: stage.parts.random.integer(50, 300),
      bytesPerSecond: stage.parts.random.integer(30_000, 200_000),
      chunksPerReset: Infinity,
    }),

  networkBreaksInside: (scope, { stage }) =>
    degraded(scope, stage, {
      latencyMs: 1,
      bytesPerSecond: Infinity,
      chunksPerReset: stage.parts.random.integer(20, 200),
    }),

  consumerKilledBeforeAck: (scope, tools) =>
    ended(scope, tools, pick(tools.stage, tools.stage.consumers), { kind: 'die' }),

  handlerExits: (scope, tools) =>
    ended(scope, tools, pick(tools.stage, tools.stage.consumers), { kind: 'exit' }),

  producerKilled: (scope, tools) =>
    ended(scope, tools, pick(tools.stage, tools.stage.producers), { kind: 'die' }),

  consumerBlocked: async (scope, { stage }) => {
    const actor = pick(stage, stage.consumers)
    const ms = 2 * LEASE_MS
    await scope.during([actor.name], async () => {
      actor.trouble({ kind: 'block', ms })
      await delay(ms + 500)
    })
  },

  // This excuses no other violation: one handler of one event fails, and holds back only its aggregate until then.
  handlerHangs: async (_scope, { stage }) => {
    pick(stage, stage.consumers).trouble({ kind: 'hang' })
    await delay(HANDLER_TIMEOUT_MS + 500)
  },

  consumerFrozenBeyondLease: (scope, { stage }) => frozen(scope, pick(stage, stage.consumers), 2 * LEASE_MS),

  consumerFrozenShortly: (scope, { stage }) => frozen(scope, pick(stage, stage.consumers), LEASE_MS / 3),

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
      stage.consumers.filter(({ part }) => part.group === 'shared'),
    )
    const exchange = async () => {
      const { consumerName } = actor.part
      await whenConsuming(await stage.start({ ...actor.part, consumerName: `${consumerName}+` }))
      await stage.stop(actor)
    }
    await scope.during([actor.name], exchange, { isPlanned: true })
  },

  deadLettersReplayed: (_scope, { replayDeadLetters }) => replayDeadLetters(),
}

/** Ends the process at its next opportunity: in a handler, between handling and acknowledging, or during a publish. */
async function ended(
  scope: FaultScope,
  { stage, whenConsuming }: FaultTools,
  actor: Actor,
  trouble: Trouble,
): Promise<void> {
  await scope.during([actor.name], async () => {
    actor.wasKilled = true
    actor.trouble(trouble)
    if (!(await actor.ended(3000))) actor.signal('SIGKILL')
    await actor.ended(3000)
    stage.recordEnd(actor)
  })
  const heir = await stage.start(actor.part)
  if (actor.part.role === 'consumer') await whenConsuming(heir)
}

async function degraded(scope: FaultScope, stage: Stage, quality: LineQuality): Promise<void> {
  const { proxy, name } = pick(stage, stage.actors)
  await scope.during([name], async () => {
    proxy.degrade(quality)
    await delay(stage.parts.random.integer(2000, 4000))
    proxy.degrade(undefined)
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
