import {
  BrokerEventBus,
  type BrokerOptions,
  brokerDefaults,
  brokerRules,
  type Consumption,
  type DeadLetterStore,
  type Delivery,
  type GroupControlStore,
  type GroupInfo,
  type Intake,
  orderingOf,
  type PartitionOptions,
  type PresenceStore,
  partitionDefaults,
  partitionRules,
  type ReplayRequest,
  resolveOptions,
  type Transport,
  type TransportAdmin,
  withBroadcast,
} from '../../src/index.ts'
import { type BusFaults, type CreateBus, MemoryBroker, MemoryTransport } from '../../src/testing/index.ts'

/** Turns a transport that works into one that does not. */
export type Sabotage = (transport: Transport, broker: MemoryBroker) => Partial<Transport>

interface CrashingTransport extends Transport {
  crash(): void
}

const defaults = { ...brokerDefaults, ...partitionDefaults }
const rules = { ...brokerRules, ...partitionRules }

export class FaultyBus extends BrokerEventBus<CrashingTransport> {
  constructor(options: BrokerOptions & PartitionOptions, broker: MemoryBroker, sabotage: Sabotage) {
    const resolved = withBroadcast(
      'FaultyBus',
      options,
      resolveOptions('FaultyBus', options, defaults, rules),
    )
    const keepsOrder = orderingOf(resolved) === 'aggregate'
    super(resolved, (host) => {
      const whole = new MemoryTransport(broker, { ...resolved, keepsOrder }, host)
      return { ...pretendingToBe(whole, sabotage(whole, broker)), crash: () => whole.crash() }
    })
  }

  crash(): void {
    this.transport.crash()
  }
}

/** A transport that is another one, but for what it does differently. */
function pretendingToBe(whole: Transport, parts: Partial<Transport>): Transport {
  return {
    system: whole.system,
    destination: whole.destination,
    deadLetters: whole.deadLetters,
    groupTypes: whole.groupTypes,
    waiting: whole.waiting,
    rates: whole.rates,
    loadControl: async () => controlOf(whole),
    connect: () => whole.connect(),
    publish: (messages, signal) => whole.publish(messages, signal),
    consume: (intake) => whole.consume(intake),
    lag: () => whole.lag(),
    loadAdmin: () => adminOf(whole),
    loadPresence: () => presenceOf(whole),
    close: (signal) => whole.close(signal),
    ...parts,
  }
}

/** A store that is another one, but for what it does differently, one dead letter at a time and in bulk. */
export function pretendingStore(whole: DeadLetterStore, parts: Partial<DeadLetterStore>): DeadLetterStore {
  const store: DeadLetterStore = {
    list: (limit, cursor, listing) => whole.list(limit, cursor, listing),
    get: (id) => whole.get(id),
    count: (group) => whole.count(group),
    replay: (id, request) => whole.replay(id, request),
    remove: (ids) => whole.remove(ids),
    sweep: async (visit, options) => {
      const replays: (readonly [id: string, request: ReplayRequest])[] = []
      const report = await whole.sweep((letter) => {
        const verdict = visit(letter)
        if (typeof verdict === 'string' || parts.replay === undefined) return verdict
        replays.push([letter.id, verdict])
        return 'keep'
      }, options)
      for (const [id, request] of replays) await store.replay(id, request)
      return { ...report, replayed: report.replayed + replays.length }
    },
    append: (letter, group) => whole.append(letter, group),
    ...parts,
  }
  return store
}

/** A delivery that is another one, but for what it does differently. */
export function pretendingDelivery(whole: Delivery, parts: Partial<Delivery>): Delivery {
  return {
    message: whole.message,
    identity: whole.identity,
    deliveryCount: whole.deliveryCount,
    settledHandlers: whole.settledHandlers,
    replayTarget: whole.replayTarget,
    begin: () => whole.begin(),
    beginAttempt: (attempt, settled) => whole.beginAttempt(attempt, settled),
    attemptFailed: (attempt, settled) => whole.attemptFailed(attempt, settled),
    ack: () => whole.ack(),
    deadLetter: (reason) => whole.deadLetter(reason),
    waitBehind: async (handlerName, limit) => whole.waitBehind?.(handlerName, limit),
    passOn: async (except) => (await whole.passOn?.(except)) ?? true,
    postpone: async (wait) => (await whole.postpone?.(wait)) ?? false,
    ...parts,
  }
}

/** An intake that passes on other deliveries than it gets. */
export function delivering(intake: Intake, deliver: (delivery: Delivery) => void): Intake {
  return {
    get room() {
      return intake.room
    },
    get roomBytes() {
      return intake.roomBytes
    },
    whenRoom: () => intake.whenRoom(),
    deliver,
  }
}

export function pretendingConsumption(whole: Consumption, parts: Partial<Consumption>): Consumption {
  return {
    isFlowing: whole.isFlowing,
    stopFetching: () => whole.stopFetching(),
    release: (signal) => whole.release(signal),
    ...parts,
  }
}

/** `create` and `faults` for the suite, over a sabotaged transport. */
export function faulty(sabotage: Sabotage): { readonly create: CreateBus; readonly faults: BusFaults } {
  const brokers = new Map<string, MemoryBroker>()
  const brokerOf = (scope: string) => {
    const broker = brokers.get(scope) ?? new MemoryBroker()
    brokers.set(scope, broker)
    return broker
  }
  return {
    create: ({ scope, ...options }) => new FaultyBus(options, brokerOf(scope), sabotage),
    faults: {
      idleLimitMs: 20,
      publishRaw: (scope, message) => brokerOf(scope).publishRaw(message),
      loseTopology: (scope) => brokerOf(scope).loseGroups(),
      cutConnections: (scope) => {
        brokerOf(scope).goDown()
        brokerOf(scope).comeUp()
      },
      stopBroker: (scope) => brokerOf(scope).goDown(),
      startBroker: (scope) => brokerOf(scope).comeUp(),
      crash: (bus) => {
        if (bus instanceof FaultyBus) bus.crash()
      },
    },
  }
}

/** What an operator can ask the transport. */
async function adminOf(whole: Transport): Promise<TransportAdmin> {
  if (whole.loadAdmin === undefined) throw new Error('this transport answers no operator')
  return whole.loadAdmin()
}

/** A transport whose admin is another one, but for what it does differently. */
export function administrating(
  change: (admin: TransportAdmin, broker: MemoryBroker) => Partial<TransportAdmin>,
): Sabotage {
  return (whole, broker) => ({
    loadAdmin: async () => {
      const admin = await adminOf(whole)
      return {
        groups: () => admin.groups(),
        deleteGroup: (name) => admin.deleteGroup(name),
        seek: (name, to, isDryRun) => admin.seek(name, to, isDryRun),
        scan: (request) => admin.scan(request),
        follow: (aggregateId, signal) => admin.follow(aggregateId, signal),
        progress: (place) => admin.progress(place),
        ...change(admin, broker),
      }
    },
  })
}

/** Reports groups in another way than the broker does. */
export function reporting(change: (groups: readonly GroupInfo[]) => readonly GroupInfo[]): Sabotage {
  return administrating((admin) => ({ groups: async () => change(await admin.groups()) }))
}

/** Keeps pauses in another way than a transport should. */
export function controlling(
  change: (control: GroupControlStore, broker: MemoryBroker) => Partial<GroupControlStore>,
): Sabotage {
  return (whole, broker) => ({
    loadControl: async () => {
      const control = await controlOf(whole)
      const sound: GroupControlStore = {
        staysInGroup: control.staysInGroup,
        poll: () => control.poll(),
        read: (group) => control.read(group),
        write: (group, text) => control.write(group, text),
      }
      return { ...sound, ...change(sound, broker) }
    },
  })
}

async function controlOf(whole: Transport): Promise<GroupControlStore> {
  if (whole.loadControl === undefined) throw new Error('this transport keeps no pauses')
  return whole.loadControl()
}

/** Keeps the reports of processes in another way than a transport should. */
export function presenting(
  change: (presence: PresenceStore, broker: MemoryBroker) => Partial<PresenceStore>,
): Sabotage {
  return (whole, broker) => ({
    loadPresence: async () => {
      const presence = await presenceOf(whole)
      return { ...presence, ...change(presence, broker) }
    },
  })
}

async function presenceOf(whole: Transport): Promise<PresenceStore> {
  if (whole.loadPresence === undefined) throw new Error('this transport keeps no reports')
  return whole.loadPresence()
}
