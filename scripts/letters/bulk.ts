import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { isDeepStrictEqual } from 'node:util'
import type { BrokerEventBus, DeadLetter } from '../../src/index.ts'
import { report, step } from './measure.ts'

/** The events that the handlers of two groups got, by group. */
export type Handled = Readonly<Record<'a' | 'b', string[]>>

export interface BulkScene {
  readonly bus: BrokerEventBus
  readonly handled: Handled
  /** Stores so many dead letters of five errors, every second one of group b. */
  readonly store: (count: number) => Promise<unknown>
  readonly url: string
  readonly prefix: string
}

const KILLS = 20

async function all({ deadLetters }: BrokerEventBus): Promise<readonly DeadLetter[]> {
  const found: DeadLetter[] = []
  for (let cursor: string | undefined; ; ) {
    const page = await deadLetters.list({ limit: 500, ...(cursor !== undefined && { cursor }) })
    found.push(...page.deadLetters)
    cursor = page.cursor
    if (cursor === undefined) return found
  }
}

const comparable = ({ id, body, headers }: DeadLetter) => ({ id, body: String(body), headers })

async function until(condition: () => unknown): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** K1: replays one of five errors, once each, and leaves the others as they are. */
export async function replaysOneError(scene: BulkScene, count: number): Promise<void> {
  const { bus, handled, store } = scene
  await store(count)
  const before = await all(bus)
  const chosen = before.filter(({ errorName }) => errorName === 'TypeError')
  const errorSignature = chosen[0]?.errorSignature ?? ''
  const replayed = await step('K1 replay one of five errors', 30_000, () =>
    bus.deadLetters.replayAll({ errorSignature }),
  )
  await until(() => handled.a.length + handled.b.length >= chosen.length)
  const left = (await all(bus)).map(comparable)
  const expected = before.filter((letter) => !chosen.includes(letter)).map(comparable)
  const idsOf = (group: string) => chosen.flatMap((it) => (it.consumerGroup === group ? [it.eventId] : []))
  const isExact =
    replayed === chosen.length &&
    isDeepStrictEqual(left, expected) &&
    (['a', 'b'] as const).every((group) =>
      isDeepStrictEqual(handled[group].toSorted(), idsOf(group).toSorted()),
    )
  report('K1 exactly these, once each', { chosen: chosen.length, left: left.length }, isExact)
  await clear(scene)
}

/** K3: 50 a second, cancelled after 200, continued by the same call. */
export async function replaysAtARate(scene: BulkScene): Promise<void> {
  const { bus, handled, store } = scene
  // The first replay of each group creates its topic on Kafka, which consumers notice after up to metadataMaxAgeMs.
  await store(2)
  await bus.deadLetters.replayAll({})
  await until(() => handled.a.length + handled.b.length === 2)
  await clear(scene)
  await store(1000)
  const abort = new AbortController()
  const arrivals: number[] = []
  const watch = setInterval(() => {
    const seen = handled.a.length + handled.b.length
    while (arrivals.length < seen) arrivals.push(performance.now())
  }, 5)
  const startedAt = performance.now()
  const options = { ratePerSecond: 50 }
  const onProgress = ({ changed }: { changed: number }) => {
    if (changed >= 200) abort.abort()
  }
  const first = await bus.deadLetters.replayAll({}, { ...options, signal: abort.signal, onProgress })
  const pausedMs = performance.now() - startedAt
  await until(() => handled.a.length + handled.b.length === first)
  const waiting = await bus.deadLetters.count()
  const restartedAt = performance.now()
  const rest = await bus.deadLetters.replayAll({}, options)
  const ms = Math.round(pausedMs + performance.now() - restartedAt)
  await until(() => handled.a.length + handled.b.length === 1000)
  await until(() => arrivals.length === 1000)
  clearInterval(watch)
  let most = 0
  for (let from = 0, to = 0; to < arrivals.length; to += 1) {
    while ((arrivals[to] ?? 0) - (arrivals[from] ?? 0) > 1000) from += 1
    most = Math.max(most, to - from + 1)
  }
  const isRate = ms >= 18_000 && ms <= 22_000 && most <= 60
  report('K3 1,000 at 50 a second', { ms, mostInOneSecond: most }, isRate)
  const isOnce = new Set([...handled.a, ...handled.b]).size === 1000
  const isCancelled = first >= 200 && first <= 260 && waiting === 1000 - first && rest === waiting && isOnce
  report('K3 cancelled after 200, and continued', { first, rest }, isCancelled)
  await clear(scene)
}

/** K4: each kill of a process that replays loses nothing, and repeats at most one. */
export async function survivesKills(scene: BulkScene, count: number): Promise<void> {
  const { bus, handled, store, url, prefix } = scene
  await store(count)
  const ids = new Set((await all(bus)).map(({ eventId }) => eventId))
  let kills = 0
  for (; kills < KILLS && (await bus.deadLetters.count()) > 0; kills += 1) {
    const child = spawn(process.execPath, [new URL('replayer.ts', import.meta.url).pathname, url, prefix], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const enough = 1 + Math.floor((Math.random() * count) / KILLS)
    child.stdout.on('data', (text: Buffer) => {
      if (
        String(text)
          .trim()
          .split('\n')
          .some((line) => Number(line) >= enough)
      )
        child.kill('SIGKILL')
    })
    await once(child, 'close')
  }
  await bus.deadLetters.replayAll()
  await until(() => new Set([...handled.a, ...handled.b]).size >= ids.size)
  const runs = handled.a.length + handled.b.length
  const isKept = runs <= ids.size + kills && (await bus.deadLetters.count()) === 0
  report('K4 kills of a process that replays', { kills, letters: ids.size, runs }, isKept && kills === KILLS)
  await clear(scene)
}

/** K5: another operator gets answers while one lists everything. */
export async function answersMeanwhile(bus: BrokerEventBus, other: BrokerEventBus): Promise<void> {
  const state = { isOver: false }
  const listing = all(bus).finally(() => {
    state.isOver = true
  })
  const total = await bus.deadLetters.count()
  let [worstMs, answers, wrong] = [0, 0, 0]
  while (!state.isOver) {
    const startedAt = performance.now()
    const [count, page] = await Promise.all([
      other.deadLetters.count(),
      other.deadLetters.list({ limit: 50 }),
    ])
    worstMs = Math.max(worstMs, performance.now() - startedAt)
    answers += 1
    if (count !== total || page.deadLetters.length !== 50) wrong += 1
  }
  const listed = (await listing).length
  const isKept = worstMs <= 2000 && wrong === 0 && listed === total
  report('K5 answers during a list of all', { answers, worstMs: Math.round(worstMs), wrong, listed }, isKept)
}

async function clear({ bus, handled }: BulkScene): Promise<void> {
  await bus.deadLetters.purge({})
  handled.a.length = 0
  handled.b.length = 0
}
