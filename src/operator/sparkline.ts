import { numberText } from './components.ts'
import { type Html, html } from './html.ts'

/** A value at a time, in milliseconds; undefined if it is unknown. */
export interface Sample {
  readonly at: number
  readonly value: number | undefined
}

const WIDTH = 120
const HEIGHT = 28

/** A small chart of the last `spanMs`. Screen readers get its ends and its maximum. */
export function sparkline(
  samples: readonly Sample[],
  options: {
    readonly spanMs: number
    readonly label: string
    readonly isBig?: boolean
    /** The color of what needs attention. */
    readonly level?: 'warn' | 'bad' | undefined
  },
): Html {
  const { spanMs, label, isBig = false, level } = options
  const known = samples.flatMap(({ at, value }) => (value === undefined ? [] : [{ at, value }]))
  const end = samples.at(-1)?.at ?? 0
  const max = Math.max(1, ...known.map(({ value }) => value))
  const points = known.map(({ at, value }) => ({
    x: round(WIDTH - ((end - at) / spanMs) * WIDTH),
    y: round(HEIGHT - 2 - (value / max) * (HEIGHT - 4)),
  }))
  const line = points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${x} ${y}`).join('')
  const [first, last] = [points[0], points.at(-1)]
  const area = first === undefined ? '' : `${line}L${WIDTH} ${HEIGHT - 2}L${first.x} ${HEIGHT - 2}Z`
  return html`<svg class="spark ${level}${isBig && ' big'}" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${describe(known, label)}">
<path class="base" d="M0 ${HEIGHT - 2}H${WIDTH}"/>
${points.length > 1 && html`<path class="area" d="${area}"/><path class="line" d="${line}"/>`}
${last !== undefined && html`<path class="now" d="M${last.x} ${last.y}h0"/>`}
</svg>`
}

function describe(known: readonly { readonly value: number }[], label: string): string {
  const values = known.map(({ value }) => value)
  if (values.length === 0) return `${label}: unknown`
  const [first = 0] = values
  const last = values.at(-1) ?? 0
  return `${label}: from ${numberText(first)} to ${numberText(last)}, at most ${numberText(Math.max(...values))}`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
