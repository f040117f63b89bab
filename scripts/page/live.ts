import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Figures, quantile } from './figures.ts'
import { openSlowViewer } from './slow-viewer.ts'
import { openSystem, Placed } from './system.ts'
import { busyOf, heapMB, openTab } from './tab.ts'

const run = promisify(execFile)
const PATH = '/orders/live/stream'

type System = Awaited<ReturnType<typeof openSystem>>

interface Frame {
  readonly seen: number
  readonly dropped: number
}

/** Live events at a high rate with five viewers, one of which does not read, in the process of a consumer. */
export async function checkLive(
  figures: Figures,
  { seconds, rate }: { readonly seconds: number; readonly rate: number },
): Promise<void> {
  await using system = await openSystem(figures.kind)
  const consumer = system.open('billing')
  const latencies: number[] = []
  consumer.subscribe(Placed, ({ at }) => void latencies.push(Date.now() - at), { name: 'charge' })
  consumer.startConsumingInBackground()
  await consumer.whenConsuming()
  const produce = async (forSeconds: number) => {
    latencies.length = 0
    const startedAt = performance.now()
    const sent = await produced(system, rate, forSeconds)
    while (latencies.length < sent && performance.now() - startedAt < 3 * forSeconds * 1000) await wait(5)
    const perSecond = latencies.length / ((performance.now() - startedAt) / 1000)
    return { sent, perSecond, p99Ms: quantile(latencies, 0.99) }
  }
  await produce(5) // compiles what the measured runs use
  const alone = await produce(seconds)

  const tab = await openTab()
  await tab.page.goto(`${system.server.url}/orders/live`)
  await tab.page.getByText('running').waitFor()
  const viewers = [1, 2, 3].map(() => watch(system))
  await using slow = await openSlowViewer(system.handler, PATH)
  await wait(2000) // the read at the broker has started
  const busySeconds = await busyOf(tab.page)
  const watched = await produce(seconds)
  const busy = await busySeconds()
  await wait(1000) // the last frame

  figures.atLeast(
    'P12 throughput with viewers, % of that without',
    (100 * watched.perSecond) / alone.perSecond,
    95,
  )
  figures.atMost('P12 p99 of the latency with viewers, ms more', watched.p99Ms - alone.p99Ms, 5)
  for (const [n, { frames, startedAt, last }] of viewers.entries()) {
    figures.atLeast(
      `P12 frames per second of viewer ${n + 1}`,
      frames.length / ((last() - startedAt) / 1000),
      4,
    )
    const seen = frames.at(-1)?.seen ?? 0
    figures.atMost(
      `P12 counter of viewer ${n + 1}, % wrong`,
      (100 * Math.abs(seen - watched.sent)) / watched.sent,
      1,
    )
  }
  const shown = Number(
    /([\d,]+) seen/.exec((await tab.page.textContent('[data-part="seen"]')) ?? '')?.[1]?.replaceAll(',', ''),
  )
  figures.atMost(
    'P12 counter of the browser, % wrong',
    (100 * Math.abs(shown - watched.sent)) / watched.sent,
    1,
  )
  figures.atMost('P12 main thread of the browser busy, %', (100 * busy) / seconds, 50)
  figures.atMost('P12 heap of the tab, MB', await heapMB(tab.page), 150)
  const more = produced(system, rate, 8)
  await wait(2000)
  const told = await slow.catchUp()
  // If its buffers held all frames, it would have missed nothing, and the figures would show nothing.
  figures.atLeast(
    'P12 events that the slow viewer has missed, and is told of, % of all',
    (100 * told.dropped) / watched.sent,
    50,
  )
  figures.atMost('P12 bytes that the slow viewer holds in the process', slow.heldBytes(), 1_000_000)
  const perSecond = await bytesIn(system, 1000)
  for (const { stop } of viewers) stop()
  await slow[Symbol.asyncDispose]()
  await tab[Symbol.asyncDispose]()
  await wait(2000)
  const after = await bytesIn(system, 1000)
  figures.atMost(
    'P14 bytes of the broker 2 s after the last viewer, % of those before',
    (100 * after) / perSecond,
    5,
  )
  await more
}

async function produced({ url, prefix }: System, rate: number, seconds: number): Promise<number> {
  const program = join(import.meta.dirname, 'producer.ts')
  const { stdout } = await run(process.execPath, [program, url, prefix, String(rate), String(seconds)])
  return Number(stdout)
}

async function bytesIn({ read }: System, ms: number): Promise<number> {
  const before = read.bytes
  await wait(ms)
  return read.bytes - before
}

/** A viewer that reads all frames. */
function watch({ server }: System) {
  const frames: Frame[] = []
  const stop = new AbortController()
  let lastAt = performance.now()
  let startedAt = 0
  const reading = async () => {
    const answer = await fetch(server.url + PATH, { signal: stop.signal })
    let rest = ''
    for await (const chunk of answer.body ?? []) {
      rest += Buffer.from(chunk).toString('utf8')
      const parts = rest.split('\n\n')
      rest = parts.pop() ?? ''
      for (const part of parts.filter((one) => one.startsWith('data: '))) {
        startedAt ||= performance.now()
        lastAt = performance.now()
        const { seen, dropped }: Frame = JSON.parse(part.slice(6))
        frames.push({ seen, dropped })
      }
    }
  }
  reading().catch(() => undefined) // it was stopped
  return {
    frames,
    get startedAt() {
      return startedAt
    },
    last: () => lastAt,
    stop: () => stop.abort(),
  }
}
