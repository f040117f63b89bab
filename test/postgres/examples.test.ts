import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, inject, it } from 'vitest'
import { paced } from '../support/pace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

it.each([
  ['Drizzle', 'examples/postgres-drizzle.mjs', 'Order of 40, balance -40\n'],
  ['Knex', 'examples/postgres-knex.ts', 'Order of 3, stock -3\n'],
  ['Kysely', 'examples/postgres-kysely.ts', 'Order of 3, stock -3\n'],
  ['Prisma', 'examples/postgres-prisma.ts', 'Order of 3, stock -3\n'],
  ['TypeORM', 'examples/postgres-typeorm.ts', 'Order of 3, stock -3\n'],
])(
  'writes an event and a row of %s in one transaction',
  { timeout: paced(60_000) },
  async (_name, file, printed) => {
    const { stdout } = await promisify(execFile)(process.execPath, [file, inject('postgresUrl')], {
      cwd: root,
    })

    expect(stdout).toBe(printed)
  },
)
