// One bar for the ratio of each workload, with a line at 1 and a mark at the goal.
import type { BenchRow } from '../harness.ts'
import type { BenchResult } from '../results.ts'
import { goalGroups } from './goals.ts'

const WIDTH = 860
const LABELS = 430
/** Right edge of the figures, clear of the lines. */
const FIGURES = WIDTH - 10
const BARS = FIGURES - 60 - LABELS
const LINE = 22
const TOP = 34

/** Colors for light and dark mode: the page that embeds the image cannot style it. */
const STYLE = `text { font: 12px system-ui, sans-serif; fill: #24292f }
.bar { fill: #2f81f7 } .short { fill: #bf8700 } .one { stroke: #57606a; stroke-width: 1 } .goal { stroke: #cf222e; stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #388bfd } .short { fill: #d29922 } .one { stroke: #8b949e } .goal { stroke: #ff7b72 } }`

/** The ratios of peers differ so much that only a logarithmic scale shows all of them. */
interface Scale {
  readonly isLogarithmic: boolean
  readonly largest: number
  readonly smallest: number
}

export function chartOf({ bus, rows }: BenchResult): string {
  const shown = rows.filter(({ ratio }) => Number.isFinite(ratio) && ratio > 0)
  const scale = scaleFor(shown)
  const height = TOP + shown.length * LINE + 10
  const one = xOf(1, scale)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(`${bus}: ratio of each workload`)}">
<style>${STYLE}</style>
<text x="${one}" y="14" text-anchor="middle">1 = ${shown.some(({ peer }) => peer !== undefined) ? 'equal to the other' : 'equal to the bare client'}${scale.isLogarithmic ? ' (logarithmic)' : ''}</text>
<line class="one" x1="${one}" x2="${one}" y1="20" y2="${height - 6}"/>
${shown.map((row, index) => barOf(row, { bus, y: TOP + index * LINE, scale })).join('\n')}
</svg>
`
}

function scaleFor(rows: readonly BenchRow[]): Scale {
  const values = rows.flatMap((row) => [row.ratio, goalOf(row) ?? 1])
  const largest = Math.max(1.2, ...values)
  return { isLogarithmic: largest > 5, largest, smallest: Math.min(0.1, ...values) }
}

function xOf(ratio: number, { isLogarithmic, largest, smallest }: Scale): number {
  const part = isLogarithmic ? Math.log(ratio / smallest) / Math.log(largest / smallest) : ratio / largest
  return Math.round(LABELS + part * BARS)
}

interface Place {
  /** The bus that the chart is about. */
  readonly bus: string
  readonly y: number
  readonly scale: Scale
}

function barOf(row: BenchRow, { bus, y, scale }: Place): string {
  const goal = goalOf(row)
  const end = xOf(row.ratio, scale)
  const mark = goal === undefined ? '' : markAt(xOf(goal, scale), y)
  const look = goal !== undefined && row.ratio < goal ? 'short' : 'bar'
  const text = (x: number, content: string) =>
    `<text x="${x}" y="${y + 13}" text-anchor="end">${escaped(content)}</text>`
  return `${text(LABELS - 8, shortened(labelOf(row, bus)))}<rect class="${look}" x="${LABELS}" y="${y + 2}" width="${Math.max(1, end - LABELS)}" height="14"/>${text(FIGURES, String(row.ratio))}${mark}`
}

function labelOf(row: BenchRow, bus: string): string {
  const work = row.peer === undefined ? row.work : `${row.work}, vs ${row.peer}`
  return row.bus === bus ? work : `${row.bus}: ${work}`
}

function markAt(x: number, y: number): string {
  return `<line class="goal" x1="${x}" x2="${x}" y1="${y}" y2="${y + 18}"/>`
}

function goalOf({ bus, work, peer }: BenchRow): number | undefined {
  const isAbout = (goal: Pick<BenchRow, 'bus' | 'work' | 'peer'>) =>
    goal.bus === bus && goal.work === work && goal.peer === peer
  return goalGroups.flatMap(({ goals }) => goals).find((goal) => goal.figure === 'ratio' && isAbout(goal))
    ?.atLeast
}

function shortened(label: string): string {
  return label.length > 64 ? `${label.slice(0, 63)}…` : label
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
