import { duration, integer, text } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { logOptions } from '../target.ts'

export const exporter = defineCommand({
  name: 'exporter',
  about: 'Serves the metrics of all consumer groups, or of the subscriptions of a store, to Prometheus',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...logOptions,
    host: { value: '<address>', about: 'address to listen on', read: text, default: '127.0.0.1' },
    port: { value: '<n>', about: 'port to listen on', read: integer(0), default: '9464' },
    for: { value: '<duration>', about: 'end after this time, such as 30s', read: duration },
  },
  examples: [
    'exporter redis://localhost --port 9465 --for 1s',
    'exporter sqlite:shop.db --port 9466 --for 1s',
  ],
  run: async ({ options, url, terminal }) => {
    const { serveMetrics } = await import('./run-exporter.ts')
    const { host, port, for: forMs } = options
    return serveMetrics({ options, url, terminal }, { host, port, forMs })
  },
})
