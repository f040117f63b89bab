import { text } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { listFormatOf, listFormatOptions } from '../list-format.ts'
import { busOptions } from '../target.ts'

export const doctor = defineCommand({
  name: 'doctor',
  about: 'Checks a broker: connection, version, settings, rights, names, clocks, groups, dead letters',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...busOptions,
    group: { value: '<name>', about: 'consumer group whose queue and rights are checked', read: text },
    ...listFormatOptions,
  },
  examples: ['doctor redis://localhost', 'doctor redis://localhost --json'],
  run: async ({ options, url, terminal }) => {
    const [{ busTarget }, { runDoctor }] = await Promise.all([
      import('../target.ts'),
      import('./run-doctor.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    return runDoctor(target, { group: options.group, format: listFormatOf(options), terminal })
  },
})
