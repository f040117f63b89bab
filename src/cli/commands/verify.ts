import { duration, integer, text } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { UsageError } from '../exit-code.ts'
import { busOptions } from '../target.ts'

export const verify = defineCommand({
  name: 'verify',
  about: 'Runs producers and consumers on a broker, injects faults, and judges whether an event was lost',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...busOptions,
    prefix: {
      value: '<name>',
      about: 'start of all names on the broker, to which a random part is added',
      read: text,
      default: 'eventspine-verify',
    },
    seconds: { value: '<n>', about: 'inject faults for this time', read: integer(), default: '60' },
    seed: { value: '<n>', about: 'repeat the events and faults of a run', read: integer(0) },
    partitions: {
      value: '<n>',
      about: 'partitions; from 2 on, the order holds in a whole group',
      read: integer(),
    },
    handlers: { value: '<file>', about: 'module with your own createEvent and subscribe', read: text },
    'max-stall': {
      value: '<duration>',
      about: 'longest time in which a group may settle nothing although events wait',
      read: duration,
      default: '60s',
    },
    clean: {
      value: '<prefix>',
      about: 'only remove what a run has left that was killed, by the prefix that it printed',
      read: runPrefix,
    },
    yes: { about: 'do not ask before --clean' },
    json: { about: 'print JSON' },
  },
  examples: ['verify redis://localhost --seconds 5 --seed 7', 'verify redis://localhost --seconds 1 --json'],
  run: async ({ options, url, terminal }) => {
    const [{ busTarget }, { cleanUp, runVerify }] = await Promise.all([
      import('../target.ts'),
      import('../verify/run-verify.ts'),
    ])
    const { prefix, clean, yes: isYes, ...others } = options
    const target = await busTarget({ options: others, url, terminal })
    const { 'max-stall': maxStallMs, json: isJson } = options
    const settings = { ...others, prefix: clean ?? prefix, maxStallMs, isJson, terminal }
    return clean === undefined ? runVerify(target, settings) : cleanUp(target, { ...settings, isYes })
  },
})

/** Only a run has such a prefix, so that nothing else is removed. */
function runPrefix(given: string): string {
  if (/.-[0-9a-f]{8}$/.test(given)) return given
  throw new UsageError(
    `must be the prefix that a run has printed, such as eventspine-verify-1a2b3c4d, got ${JSON.stringify(given)}`,
  )
}
