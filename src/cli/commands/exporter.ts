import { duration, integer, text } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { busOptions } from '../target.ts'

export const exporter = defineCommand({
  name: 'exporter',
  about: 'Serves the metrics of all consumer groups to Prometheus, also of groups without a consumer',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...busOptions,
    host: { value: '<address>', about: 'address to listen on', read: text, default: '127.0.0.1' },
    port: { value: '<n>', about: 'port to listen on', read: integer(0), default: '9464' },
    for: { value: '<duration>', about: 'end after this time, such as 30s', read: duration },
  },
  examples: ['exporter redis://localhost --port 9465 --for 1s'],
  run: async ({ options, url, terminal }) => {
    const [{ busTarget }, { serveMetrics }] = await Promise.all([
      import('../target.ts'),
      import('./run-exporter.ts'),
    ])
    const target = await busTarget({ options, url, terminal })
    const { host, port, for: forMs } = options
    return serveMetrics(target, { host, port, forMs, terminal })
  },
})
