// Started by team.ts: one worker of a group, which reports how many events it has handled.
import { setTimeout as wait } from 'node:timers/promises'
import { OrderCreated } from '../order.ts'
import { type TeamOrder, type TeamPlace, type TeamReport, teamBus } from './team.ts'

const REPORT_MS = 5

// Written by team.ts.
const place = JSON.parse(process.argv[2] ?? '') as TeamPlace
const bus = teamBus(place)
let released: PromiseWithResolvers<void> | undefined
let report: TeamReport = { markers: 0, events: 0 }

bus.subscribe(OrderCreated, (event) => {
  if (event.total < 0) report = { ...report, markers: report.markers + 1 }
  else if (released !== undefined) return released.promise.then(() => handle())
  else return handle()
  return undefined
})
process.on('message', (order: TeamOrder) => {
  if (order === 'run') released?.resolve()
  released = order === 'run' ? undefined : Promise.withResolvers()
})
// The bench has ended.
process.on('disconnect', () => process.exit(1))
process.on('SIGTERM', () => {
  void bus.shutdown({ timeoutMs: 2000 }).then(() => process.exit(0))
})
bus.startConsumingInBackground()
await bus.whenConsuming()
// The first message: it consumes.
send()
setInterval(() => {
  if (report.markers > 0 || report.events > 0) send()
}, REPORT_MS)

function handle(): Promise<void> | undefined {
  if (place.handlerMs > 0) return wait(place.handlerMs).then(count)
  count()
  return undefined
}

function count(): void {
  report = { ...report, events: report.events + 1 }
}

function send(): void {
  process.send?.(report)
  report = { markers: 0, events: 0 }
}
