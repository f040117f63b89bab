import type { Intake } from '../../transport/transport.ts'
import type { KafkaAssignedPartition } from './assigned-partition.ts'
import { Rotation } from './rotation.ts'

export interface DeliveryPumpParts {
  readonly intake: Intake
  /** Records of all partitions that may be held, or finished and not committed. */
  readonly maxInFlight: number
  readonly partitionWindow: number
  readonly partitions: () => Iterable<KafkaAssignedPartition>
  /** Ends all deliveries. */
  readonly stopped: AbortSignal
  /** Called when uncommitted records take up half of `maxInFlight`. */
  readonly requestCommit: () => void
  /** Called after each round, which may have made room for fetched records. */
  readonly onDelivered: () => void
}

/** Delivers fetched records to the pipeline, a fair share of each partition. */
export class DeliveryPump {
  readonly #parts: DeliveryPumpParts
  readonly #rotation = new Rotation()
  #isRunning = false
  #isScheduled = false
  #isWaitingForRoom = false

  constructor(parts: DeliveryPumpParts) {
    this.#parts = parts
  }

  /** Runs once after the current task, however often it is called in it. */
  schedule(): void {
    if (this.#isRunning || this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.run()
    })
  }

  /** Delivers as many records as the limits and the pipeline allow. */
  run(): void {
    const { stopped, maxInFlight, partitionWindow: window, intake, requestCommit, onDelivered } = this.#parts
    if (this.#isRunning || stopped.aborted) return
    this.#isRunning = true
    const partitions = this.#rotation.rotate([...this.#parts.partitions()])
    const share = Math.ceil(maxInFlight / Math.max(1, partitions.length))
    const allowance = { left: maxInFlight - sum(partitions.map(({ load }) => load)) }
    if (sum(partitions.map(({ uncommitted }) => uncommitted)) * 2 >= maxInFlight) requestCommit()
    for (const partition of partitions) {
      if (partition.deliver(intake, { share, allowance, window })) continue
      void this.#runWhenRoom()
      break
    }
    this.#isRunning = false
    onDelivered()
  }

  async #runWhenRoom(): Promise<void> {
    if (this.#isWaitingForRoom) return
    this.#isWaitingForRoom = true
    await this.#parts.intake.whenRoom()
    this.#isWaitingForRoom = false
    // There is no room if the intake is closing.
    if (this.#parts.intake.room > 0) this.run()
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
