import { createNoopMeter, type Meter, type MeterProvider, metrics } from '@opentelemetry/api'

/** The given meter, or that of OpenTelemetry's global provider, which may be registered at any time. */
export class MeterSource {
  readonly #given: Meter | undefined
  #provider: MeterProvider | undefined
  #meter: Meter | undefined

  constructor(given?: Meter) {
    this.#given = given
  }

  /** @returns undefined while no SDK is registered. */
  current(): Meter | undefined {
    if (this.#given !== undefined) return this.#given
    const provider = metrics.getMeterProvider()
    if (provider === this.#provider) return this.#meter
    this.#provider = provider
    const meter = provider.getMeter('eventspine')
    this.#meter = meter === createNoopMeter() ? undefined : meter
    return this.#meter
  }
}
