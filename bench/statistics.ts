// Summaries of a few figures.

/** The median; for an even count, the mean of the two middle values. NaN if there are none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The percentile for a fraction, interpolated linearly between neighbors. NaN if there are no values. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * fraction
  const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]]
  if (below === undefined || above === undefined) return Number.NaN
  return below + (above - below) * (place % 1)
}

/** The smallest and the largest value. */
export function spreadOf(values: readonly number[]): readonly [number, number] {
  return [rounded(Math.min(...values)), rounded(Math.max(...values))]
}

/** Three significant digits; from 100 on, the nearest whole number. */
export function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}
