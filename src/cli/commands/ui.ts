import { duration, integer, text } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { busOptions } from '../target.ts'

export const ui = defineCommand({
  name: 'ui',
  about: "Serves the operator's page; without a name, of all buses of the configuration",
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...busOptions,
    host: {
      value: '<address>',
      about: 'address to listen on; any but that of this machine needs --auth',
      read: text,
      default: '127.0.0.1',
    },
    port: { value: '<n>', about: 'port to listen on; 0 for any', read: integer(0), default: '4780' },
    auth: {
      value: '<file>',
      about: 'file with lines name:password or name:password:see,read; default: a link that works once',
      read: text,
    },
    'allow-host': {
      value: '<name>',
      about: 'name, with port, under which browsers may reach the page',
      read: text,
      isList: true,
    },
    archive: {
      value: '<file>',
      about: 'file for the dead letters that are archived in the page; without it, they can be exported only',
      read: text,
    },
    'read-only': { about: 'nobody can change anything' },
    events: {
      value: '<module>',
      about: 'module that exports event classes or a registry',
      read: text,
      isList: true,
    },
    for: { value: '<duration>', about: 'end after this time, such as 30s', read: duration },
  },
  examples: ['ui redis://localhost --port 4781 --for 1s'],
  run: async ({ options, url, terminal }) => {
    const [{ busTargets }, { serveUi }] = await Promise.all([
      import('../target.ts'),
      import('../ui/run-ui.ts'),
    ])
    const targets = await busTargets({ options, url, terminal })
    const { host, port, auth, archive, for: forMs, events: eventModules } = options
    const settings = { host, port, auth, archive, forMs, eventModules, terminal }
    return serveUi(targets, {
      ...settings,
      allowHosts: options['allow-host'],
      isReadOnly: options['read-only'],
    })
  },
})
