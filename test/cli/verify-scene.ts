import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished } from 'vitest'
import { run } from '../../src/cli/run.ts'
import { paced } from '../support/pace.ts'
import { waitFor } from '../support/wait-for.ts'

/** Longest duration of a test with a run, in milliseconds. */
export const VERIFY_MS = paced(180_000)
const START_MS = 60_000
/**
 * If not set, RabbitMQ and Kafka run what differs between brokers: that verify finds nothing, and removes all it has made. The
 * rest, which is the same code, runs on Redis; `npm run test:torture` runs it on every broker.
 */
export const runsAll = process.env['EVENTSPINE_TORTURE'] === 'all'
const PREFIX = 'verify-test'
/** The first fault of this seed blocks a consumer, whose events wait at the broker meanwhile. */
const BLOCKING_SEED = '5'

export interface VerifiedBroker {
  readonly url: string
  /** All names on the broker: keys, queues and exchanges, or topics and groups. */
  readonly names: () => Promise<readonly string[]>
  /** Removes the events that wait for the consumers of a run. */
  readonly lose: (prefix: string) => Promise<unknown>
}

/** Starts the command in this process. */
function start({ url }: Pick<VerifiedBroker, 'url'>, ...args: readonly string[]) {
  const [lines, messages]: [string[], string[]] = [[], []]
  const interrupt = new AbortController()
  const result = run(['verify', url, '--prefix', PREFIX, ...args], {
    out: async (text) => void lines.push(text),
    err: (text) => void messages.push(text),
    ...{ columns: undefined, hasColor: false, ask: undefined, environment: {}, workingDirectory: '/' },
    interrupted: interrupt.signal,
  })
  return {
    ...{ lines, messages, interrupt, result },
    /** The prefix of the run, once the first fault has started. */
    prefix: async () => {
      await waitFor(() => messages.some((text) => text.startsWith('fault 1')), { timeoutMs: START_MS })
      return /the prefix (\S+) /.exec(messages.join('\n'))?.[1] ?? ''
    },
  }
}

async function expectNothingOn({ names }: VerifiedBroker): Promise<void> {
  expect((await names()).filter((name) => name.includes(PREFIX))).toEqual([])
}

export async function findsNothing(broker: VerifiedBroker, ...args: readonly string[]): Promise<void> {
  const { result, lines, messages } = start(broker, '--seconds', '5', '--seed', '3', ...args)

  expect([await result, lines]).toEqual([0, [expect.stringMatching(SUMMARY)]])
  expect(messages.at(-1)).toMatch(/^\d{3,} events, \d{3,} runs of handlers, \d+ dead letters?, \d+ faults?$/)
  await expectNothingOn(broker)
}

const SUMMARY = /^0 lost, 0 reordered, \d+ duplicates?, longest stall \d+\.\d s( \(during [\w, ]+\))?$/

/** The broker itself loses events: a script removes them, as an eviction or a wrong retention would. */
export async function findsWhatTheBrokerLoses(broker: VerifiedBroker): Promise<void> {
  const { prefix, result, lines } = start(broker, '--seconds', '4', '--seed', BLOCKING_SEED, '--json')
  const name = await prefix()
  let isOver = false
  const lose = async () => {
    // The run creates and removes its names meanwhile.
    await broker.lose(name).catch(() => undefined)
    return isOver
  }
  const losing = waitFor(lose, { timeoutMs: VERIFY_MS, intervalMs: 20 })

  const code = await result.finally(() => {
    isOver = true
  })
  await losing

  const { violations, lost, seed } = JSON.parse(lines.join(''))
  expect([code, seed]).toEqual([5, Number(BLOCKING_SEED)])
  expect(lost).toBeGreaterThan(0)
  expect(violations).toContainEqual(
    expect.objectContaining({
      rule: 'lost',
      message: expect.stringMatching(/never reached/),
      story: expect.any(Array),
    }),
  )
  await expectNothingOn(broker)
}

export async function cleansUpAfterCtrlC(broker: VerifiedBroker): Promise<void> {
  const { prefix, result, interrupt, messages, lines } = start(broker, '--seconds', '60')
  await prefix()
  interrupt.abort()

  expect([await result, lines, messages.at(-1)]).toEqual([130, [], 'interrupted'])
  await expectNothingOn(broker)
}

/** The run is killed with all that it has on the broker, which the next command removes. */
export async function removesWhatAKilledRunHasLeft(broker: VerifiedBroker): Promise<void> {
  const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
  const args = [
    '--disable-warning=ExperimentalWarning',
    program,
    'verify',
    broker.url,
    '--prefix',
    PREFIX,
    '--seed',
    BLOCKING_SEED,
  ]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => {
    output += String(chunk)
  })
  await waitFor(() => output.includes('fault 1'), { timeoutMs: START_MS })
  child.kill('SIGKILL')
  await once(child, 'close')
  const [, prefix = ''] = /verify --clean (\S+) after a crash/.exec(output) ?? []
  const left = async () => (await broker.names()).filter((name) => name.includes(prefix))
  expect(await left()).not.toEqual([])

  await expect(clean(broker, PREFIX)).resolves.toMatchObject({ code: 2 })
  const unasked = await clean(broker, prefix)
  expect([unasked.code, unasked.messages.at(-1)]).toEqual([
    2,
    `This would remove all names of the run ${prefix}. Nothing was done: add --yes.`,
  ])
  const { code, messages } = await clean(broker, prefix, '--yes')
  expect([code, messages.at(-1)]).toEqual([0, `removed what the run ${prefix} had left`])

  // Those of RabbitMQ that nobody can list expire.
  const isLasting = (name: string) => !/\.attempts\.|\.types\./.test(name)
  expect((await left()).filter(isLasting)).toEqual([])
}

async function clean({ url }: VerifiedBroker, prefix: string, ...args: readonly string[]) {
  const messages: string[] = []
  const code = await run(['verify', url, '--clean', prefix, ...args], {
    out: async () => undefined,
    err: (text) => void messages.push(text),
    ...{ columns: undefined, hasColor: false, ask: undefined, environment: {}, workingDirectory: '/' },
    interrupted: new AbortController().signal,
  })
  return { code, messages }
}
