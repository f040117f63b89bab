import { integer } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { listFormatOf, listFormatOptions } from '../list-format.ts'
import { storeOptions } from '../target.ts'

export const subscriptions = defineCommand({
  name: 'subscriptions',
  about: 'Lists the subscriptions of a store with position, lag and parked events',
  usage: '[subscription] [url] [options]',
  words: [0, 1],
  options: {
    ...storeOptions,
    'max-lag': {
      value: '<n>',
      about: 'exit code 5 if a subscription is more positions behind',
      read: integer(0),
    },
    ...listFormatOptions,
  },
  examples: ['subscriptions sqlite:shop.db', 'subscriptions sqlite:shop.db --json'],
  run: async ({ options, words, url, terminal }) => {
    const [{ storeTarget }, { listSubscriptions }] = await Promise.all([
      import('../target.ts'),
      import('./run-subscriptions.ts'),
    ])
    const target = await storeTarget({ options, url, terminal })
    return listSubscriptions({
      ...{ target, name: words[0], maxLag: options['max-lag'] },
      ...{ format: listFormatOf(options), terminal },
    })
  },
})
