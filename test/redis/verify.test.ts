import { expect, inject, it } from 'vitest'
import { commands } from '../../src/cli/commands.ts'
import { service } from '../cli/service.ts'
import {
  cleansUpAfterCtrlC,
  findsNothing,
  findsWhatTheBrokerLoses,
  removesWhatAKilledRunHasLeft,
  VERIFY_MS,
  type VerifiedBroker,
} from '../cli/verify-scene.ts'
import { wordsOf } from '../cli/words.ts'
import { programsOf } from '../docs/programs/page-programs.ts'
import { connectClient } from './scene.ts'

const OPTIONS = [inject('redisUrl'), '--seconds', '3', '--prefix', 'verify-test']

async function broker(): Promise<VerifiedBroker> {
  const client = await connectClient()
  return {
    url: inject('redisUrl'),
    names: () => client.keys('*'),
    lose: (prefix) => client.xTrim(`${prefix}:stream`, 'MAXLEN', 0),
  }
}

it('verify finds nothing, and leaves nothing behind', async () => findsNothing(await broker()), VERIFY_MS)

it(
  'verify of a partitioned group finds nothing, and leaves nothing behind',
  async () => findsNothing(await broker(), '--partitions', '4'),
  VERIFY_MS,
)

it('verify finds events that Redis has lost', async () => findsWhatTheBrokerLoses(await broker()), VERIFY_MS)

it('verify cleans up after Ctrl-C', async () => cleansUpAfterCtrlC(await broker()), VERIFY_MS)

it(
  'verify --clean removes what a killed run has left',
  async () => removesWhatAKilledRunHasLeft(await broker()),
  VERIFY_MS,
)

it(
  'verify runs the handlers of the manual page',
  async () => {
    const { run, write } = service()
    const { programs } = programsOf('docs/command-line.md')
    write('verify.ts', programs.find(({ file }) => file.includes('verify'))?.code ?? '')

    const { code, stdout, stderr } = await run('verify', ...OPTIONS, '--handlers', 'verify.ts')

    expect([code, stdout]).toEqual([0, expect.stringMatching(/^0 lost, 0 reordered, \d+ duplicates?, /)])
    expect(stderr).toMatch(/\d{3,} events, \d{3,} runs of handlers, 0 dead letters/)
  },
  VERIFY_MS,
)

it(
  'verify finds handlers that end their process, and events that wait for them',
  async () => {
    const { run, write } = service()
    write('verify.mjs', FORGETFUL)

    const { code, stdout } = await run(
      'verify',
      ...OPTIONS,
      '--handlers',
      'verify.mjs',
      '--json',
      '--max-stall',
      '3s',
    )

    const { violations, lost, waiting } = JSON.parse(stdout)
    expect([code, lost]).toEqual([5, 0])
    expect(waiting).toBeGreaterThan(0)
    const messages: readonly string[] = violations.map(({ message }: { message: string }) => message)
    expect(messages).toContainEqual(
      expect.stringMatching(/unhandledRejection without a handler: Error: forgotten/),
    )
    expect(messages).toContainEqual(expect.stringMatching(/ended with 1/))
  },
  VERIFY_MS,
)

it('verify ends with 3 if there is no broker', async () => {
  const { run } = service()

  expect(await run('verify', 'redis://127.0.0.1:1')).toEqual({
    ...{ code: 3, stdout: '' },
    stderr: expect.stringMatching(/^.*127\.0\.0\.1:1.*\n$/),
  })
})

it(
  'the examples in the help of verify run',
  async () => {
    const { run } = service({ EVENTSPINE_URL: inject('redisUrl') })
    const examples = commands.find(({ name }) => name === 'verify')?.examples ?? []
    const lines = examples.map((line) => line.replace(' redis://localhost', ''))
    for (const line of lines) {
      const { code, stderr } = await run(...wordsOf(line), '--prefix', 'verify-test')
      expect([line, code, stderr]).toEqual([line, 0, expect.stringContaining('waiting until all is settled')])
    }
  },
  VERIFY_MS,
)

/** A promise that nobody awaits. */
const FORGETFUL = `
import { defineEvent } from 'eventspine'
class Placed extends defineEvent()({ type: 'Placed', aggregateType: 'Order' }) {}
export const createEvent = ({ aggregateId }) => new Placed({ aggregateId })
export const subscribe = (bus) =>
  bus.subscribe(Placed, () => void Promise.reject(new Error('forgotten')), { name: 'charge' })`
