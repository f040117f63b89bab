import type { BrokerKind } from '../../test/brokers/broker.ts'

/** Measured figures with their bars. */
export class Figures {
  readonly kind: BrokerKind
  missed = 0

  constructor(kind: BrokerKind) {
    this.kind = kind
  }

  atMost(name: string, value: number, bar: number): void {
    this.#print(name, value, `<= ${bar}`, value <= bar)
  }

  atLeast(name: string, value: number, bar: number): void {
    this.#print(name, value, `>= ${bar}`, value >= bar)
  }

  #print(figure: string, value: number, bar: string, isMet: boolean): void {
    if (!isMet) this.missed += 1
    console.log(JSON.stringify({ bus: this.kind, figure, value: Math.round(value * 100) / 100, bar, isMet }))
  }
}

/** The value below which a part of the values lies. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
}
