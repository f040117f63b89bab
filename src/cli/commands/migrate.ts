import { integer } from '../../filter-line/index.ts'
import { defineCommand } from '../command.ts'
import { EXIT, UsageError } from '../exit-code.ts'
import { storeOptions } from '../target.ts'

export const migrate = defineCommand({
  name: 'migrate',
  about: 'Creates or updates the schema of a store, or prints the SQL that does so',
  usage: '[url] [options]',
  words: [0, 0],
  options: {
    ...storeOptions,
    check: { about: 'change nothing; exit code 5 if migrations are missing' },
    sql: { about: 'print the SQL of all migrations without connecting' },
    after: { value: '<version>', about: 'with --sql: only migrations after this version', read: integer(0) },
    json: { about: 'print the migrations as JSON' },
  },
  examples: [
    'migrate sqlite:events.db',
    'migrate sqlite:events.db --check',
    'migrate sqlite:events.db --sql',
  ],
  run: async ({ options, url, terminal }) => {
    const { storeTarget } = await import('../target.ts')
    const { checkStore, migrateStore, sqlOf } = await import('./run-migrate.ts')
    if (options.check && options.sql) throw new UsageError('Give one of --check and --sql.')
    if (options.after !== undefined && !options.sql) throw new UsageError('--after needs --sql.')
    const target = await storeTarget({ options, url, terminal })
    if (options.sql) {
      await terminal.out(await sqlOf(target, options.after ?? 0))
      return EXIT.done
    }
    return (options.check ? checkStore : migrateStore)(target, options.json, terminal)
  },
})
