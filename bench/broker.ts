// npm run bench:redis|rabbitmq|kafka [-- --json]: compares a broker's bus with the bare client that does the same durable work.
import { isLarge, subject } from './arguments.ts'
import { brokerBench, brokerKindOf } from './brokers/index.ts'
import { startBroker } from './brokers/start.ts'
import { runSteps } from './harness.ts'
import { report } from './results.ts'
import { consumeSteps, growthSteps } from './works/consume.ts'
import { curveSteps } from './works/curves.ts'
import { latencyStep } from './works/latency.ts'
import { millionStep } from './works/million.ts'
import { observingSteps } from './works/observing.ts'
import { partitionSteps } from './works/partitions.ts'
import { publishSteps } from './works/publish.ts'
import { startStep } from './works/start.ts'

/** Number of events of a round in the comparisons of partitions. */
const PARTITION_COUNTS = {
  redis: { fast: 80_000, slow: 8000 },
  rabbitmq: { fast: 20_000, slow: 8000 },
} as const

const kind = brokerKindOf(subject)
await using broker = await startBroker(kind)
await using bench = await brokerBench(kind, broker.url)

const usual = () => [
  ...publishSteps(bench),
  ...consumeSteps(bench),
  ...growthSteps(bench),
  ...(kind === 'kafka' ? [] : partitionSteps(kind, broker.url, PARTITION_COUNTS[kind])),
  latencyStep(bench),
  startStep(bench),
  ...observingSteps(bench),
  millionStep(bench, broker.url),
]
const rows = await runSteps(kind, isLarge ? curveSteps(bench) : usual())
report(isLarge ? `${kind}-large` : kind, rows, bench.versions)
