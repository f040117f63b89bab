import { expect, it } from 'vitest'
import { commands } from '../../src/cli/commands.ts'
import { run } from '../../src/cli/run.ts'
import { freePort } from '../brokers/free-port.ts'
import { shell } from '../redis/shell.ts'
import { wordsOf } from './words.ts'

const PASSWORD = 'canary-8c41'
/** They serve until Ctrl-C; test/cli/ui.test.ts and test/operator/canary.test.ts look at what they show. */
const SERVERS: readonly string[] = ['ui', 'exporter']

const PUBLISH = `publish OrderPlaced --aggregate-id o-1 --aggregate-type Order --data '{}'`

/** A command line for each command that takes the URL of a broker. */
const EXAMPLES = commands.flatMap(({ name, examples, options }) => {
  const example = name === 'publish' ? PUBLISH : examples.find((line) => line.includes('://localhost'))
  if (example === undefined || SERVERS.includes(name)) return []
  return [
    [name, `${example.replace(/ \S+:\/\/localhost\S*/, '')}${'json' in options ? ' --json' : ''}`],
  ] as const
})

it.each(EXAMPLES)('%s shows no password while the broker is away', async (_name, example) => {
  const port = await freePort()
  for (const url of [
    `redis://operator:${PASSWORD}@127.0.0.1:${port}`,
    `amqp://operator:${PASSWORD}@127.0.0.1:${port}`,
    `kafka://operator:${PASSWORD}@127.0.0.1:${port}`,
  ]) {
    const { code, stdout, stderr } = await shell(url, 'canary', 'y').run(...wordsOf(example))
    expect([2, 3]).toContain(code)
    expect(`${stdout}${stderr}`).not.toContain(PASSWORD)
  }
})

it('the other commands take no URL of a broker, or serve', () => {
  const covered: readonly string[] = EXAMPLES.map(([name]) => name)
  const others = commands.map(({ name }) => name).filter((name) => !covered.includes(name))
  expect(others).toEqual(['subscriptions', ...SERVERS, 'migrate', 'schema', 'completion'])
})

it('the environment names a URL whose password no command shows', async () => {
  const texts: string[] = []
  const { folder: workingDirectory } = shell('', '')
  const code = await run(['groups'], {
    out: async (text) => void texts.push(text),
    err: (text) => void texts.push(text),
    ...{ columns: undefined, hasColor: false, ask: undefined, workingDirectory },
    environment: { EVENTSPINE_URL: `redis://operator:${PASSWORD}@127.0.0.1:${await freePort()}` },
    interrupted: new AbortController().signal,
  })
  expect(code).toBe(3)
  expect(texts.join('\n')).not.toContain(PASSWORD)
})
