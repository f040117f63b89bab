// npm run check:page -- --bus redis --only letters,live: do searches, large lists, live events and many connections stay within the
// bars of the operator's page, and harm no consumer? Prints a line of JSON for each figure, with its bar. Ends with 1 if one is missed.
import { parseArgs } from 'node:util'
import { Figures } from './page/figures.ts'

const { values } = parseArgs({
  options: {
    bus: { type: 'string', default: 'redis' },
    count: { type: 'string', default: '100000' },
    seconds: { type: 'string', default: '60' },
    rate: { type: 'string', default: '5000' },
    streams: { type: 'string', default: '10000' },
    only: { type: 'string', default: 'idle,search,letters,live,streams' },
  },
})
const kind = (['redis', 'rabbitmq', 'kafka'] as const).find((name) => name === values.bus)
if (kind === undefined) throw new Error(`--bus must be redis, rabbitmq or kafka, got ${values.bus}`)
const [count, seconds, rate, streams] = [values.count, values.seconds, values.rate, values.streams].map(
  Number,
)
if (!count || !seconds || !rate || !streams) throw new Error('Counts, seconds and rates must be numbers')
const figures = new Figures(kind)
// Each part loads what it needs: the first one measures what the page itself takes.
const parts: Readonly<Record<string, () => Promise<void>>> = {
  idle: async () => (await import('./page/idle.ts')).checkIdle(figures),
  search: async () => (await import('./page/search.ts')).checkSearch(figures, count),
  letters: async () => (await import('./page/letters.ts')).checkLetters(figures, count),
  live: async () => (await import('./page/live.ts')).checkLive(figures, { seconds, rate }),
  streams: async () => (await import('./page/streams.ts')).checkStreams(figures, streams),
}
for (const name of values.only.split(',')) {
  const part = parts[name]
  if (part === undefined)
    throw new Error(`--only must name some of ${Object.keys(parts).join(', ')}, got ${name}`)
  await part()
}
process.exitCode = figures.missed === 0 ? 0 : 1
