import { checkPlace, NUMBERED } from '../kit/index.ts'
import type {
  EventPlace,
  GroupInfo,
  GroupProgress,
  MessageScan,
  ScanRequest,
  SeekOutcome,
  TransportAdmin,
} from '../transport/index.ts'
import type { MemoryBroker } from './memory-broker.ts'
import { unreachable } from './memory-consumption.ts'
import { groupProgress } from './memory-progress.ts'
import { followLog, scanLog, startIn } from './memory-scan.ts'

/** What an operator can ask the broker in memory. */
export class MemoryAdmin implements TransportAdmin {
  readonly #broker: MemoryBroker

  constructor(broker: MemoryBroker) {
    this.#broker = broker
  }

  groups(): Promise<readonly GroupInfo[]> {
    if (this.#broker.isDown) return unreachable()
    return Promise.resolve(this.#broker.groupNames().map((name) => this.#describe(name)))
  }

  deleteGroup(name: string): Promise<boolean> {
    if (this.#broker.isDown) return unreachable()
    if (this.#broker.membersOf(name).size > 0) return Promise.resolve(false)
    this.#broker.removeGroup(name)
    return Promise.resolve(true)
  }

  async seek(name: string, to: Date | string, isDryRun: boolean): Promise<SeekOutcome> {
    if (this.#broker.isDown) return unreachable()
    checkPlace('admin.seek: to', to, (text) => NUMBERED.test(text))
    const log = this.#broker.messages(0)
    const start = startIn(log, to, true)
    const isMoved = !isDryRun && this.#broker.membersOf(name).size === 0
    if (isMoved) this.#broker.moveTo(name, start)
    return { events: log.length - start, isMoved }
  }

  progress(place: EventPlace): Promise<readonly GroupProgress[]> {
    if (this.#broker.isDown) return unreachable()
    const names = this.#broker.groupNames()
    return Promise.resolve(names.map((name) => groupProgress(this.#broker.stateOf(name), name, place)))
  }

  async scan(request: ScanRequest): Promise<MessageScan> {
    return this.#broker.isDown ? unreachable() : scanLog(this.#broker, request)
  }

  follow(_aggregateId: string | undefined, signal: AbortSignal): Promise<MessageScan> {
    return this.#broker.isDown ? unreachable() : Promise.resolve(followLog(this.#broker, signal))
  }

  #describe(name: string): GroupInfo {
    const broker = this.#broker
    const lag = broker.lag(name) ?? 0
    const letters = broker.deadLetters().filter(({ reason }) => (reason.consumerGroup ?? name) === name)
    return {
      name,
      members: broker.membersOf(name).size,
      lag,
      inFlight: broker.unsettledOf(name) - lag,
      oldestUnsettledAt: broker.oldestUnsettledAt(name),
      retriesWaiting: broker.waitsOf(name)?.size ?? 0,
      deadLetters: letters.length,
      partitions: [],
    }
  }
}
