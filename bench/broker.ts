// npm run bench:redis|rabbitmq|kafka [-- --json]: compares a broker's bus with the bare client that does the same durable work.
import { subject } from './arguments.ts'
import { brokerBench, brokerKindOf } from './brokers/index.ts'
import { startBroker } from './brokers/start.ts'
import { runSteps } from './harness.ts'
import { report } from './results.ts'
import { consumeSteps, growthSteps } from './works/consume.ts'
import { latencyStep } from './works/latency.ts'
import { millionStep } from './works/million.ts'
import { observingSteps } from './works/observing.ts'
import { publishSteps } from './works/publish.ts'
import { startStep } from './works/start.ts'

const kind = brokerKindOf(subject)
await using broker = await startBroker(kind)
await using bench = await brokerBench(kind, broker.url)

const rows = await runSteps(kind, [
  ...publishSteps(bench),
  ...consumeSteps(bench),
  ...growthSteps(bench),
  latencyStep(bench),
  startStep(bench),
  ...observingSteps(bench),
  millionStep(bench, broker.url),
])
report(kind, rows, bench.versions)
