import { oneOf } from '../../filter-line/index.ts'
import { type AnyCommand, defineCommand } from '../command.ts'
import { listFormatOf, listFormatOptions } from '../list-format.ts'
import { busOptions } from '../target.ts'

const format = {
  value: '<format>',
  about: 'table, json, or a graph for mermaid or dot (Graphviz)',
  read: oneOf('table', 'mermaid', 'dot', 'json'),
  default: 'table',
} as const

const consumers = defineCommand({
  name: 'consumers',
  about: 'Lists the living consumers of all groups, or of one, with their versions and handlers',
  usage: '[group] [url] [options]',
  words: [0, 1],
  options: { ...busOptions, ...listFormatOptions },
  examples: ['consumers redis://localhost', 'consumers billing redis://localhost --json'],
  run: async ({ options, words, url, terminal }) => {
    const [{ busTarget }, { listConsumers }] = await Promise.all([
      import('../target.ts'),
      import('./run-presence.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    return listConsumers(target, { group: words[0], format: listFormatOf(options), terminal })
  },
})

const topology = defineCommand({
  name: 'topology',
  about: 'Shows who publishes which events, which handlers get them, and what those publish in turn',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...busOptions,
    format,
  },
  examples: ['topology redis://localhost', 'topology redis://localhost --format mermaid'],
  run: async ({ options, url, terminal }) => {
    const [{ busTarget }, { showTopology }] = await Promise.all([
      import('../target.ts'),
      import('./run-presence.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    return showTopology(target, { format: options.format, terminal })
  },
})

/** The commands on living processes. */
export const presence: readonly AnyCommand[] = [consumers, topology]
