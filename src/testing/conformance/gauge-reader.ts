import type { BatchObservableCallback, Meter, Observable } from '@opentelemetry/api'

/** Collects the gauges that are observed in batches, as an SDK does. */
export class GaugeReader {
  readonly #names = new Map<Observable, string>()
  readonly #callbacks = new Set<BatchObservableCallback>()

  /** The part of a meter that the operator uses. */
  get meter(): Meter {
    const none = { addCallback: () => undefined, removeCallback: () => undefined }
    const meter: Partial<Meter> = {
      createObservableGauge: (name) => {
        const gauge = { ...none }
        this.#names.set(gauge, name)
        return gauge
      },
      addBatchObservableCallback: (callback) => this.#callbacks.add(callback),
      removeBatchObservableCallback: (callback) => this.#callbacks.delete(callback),
    }
    return meter as Meter
  }

  /** The gauges of one consumer group, by name. */
  async read(group: string): Promise<ReadonlyMap<string, number>> {
    const values = new Map<string, number>()
    for (const callback of this.#callbacks) {
      await callback({
        observe: (gauge, value, attributes = {}) => {
          if (attributes['messaging.consumer.group.name'] !== group) return
          values.set(this.#names.get(gauge) ?? '', value)
        },
      })
    }
    return values
  }
}
