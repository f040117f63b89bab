import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { createClient } from 'redis'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { PAGES, type PageProgram, programsOf, promisedBy } from '../docs/programs/page-programs.ts'
import { ProgramFolder } from '../docs/programs/program-folder.ts'
import type { ProgramOutcome } from '../docs/programs/run-all.ts'
import { programOfExamples } from '../docs/programs/tsdoc-examples.ts'
import { paced } from '../support/pace.ts'

const programs = [
  ...PAGES.flatMap((page) => programsOf(page).programs).filter(({ servers }) => servers.length > 0),
  programOfExamples(true),
]
const databases = new Map(
  programs
    .filter(({ servers }) => servers.includes('postgres'))
    .map(({ file }) => [file, `pages_${randomUUID().slice(0, 8)}`]),
)

let outcomes: Readonly<Record<string, ProgramOutcome>> = {}

/** The last logical database, which no other test uses. */
const redisUrl = () => Object.assign(new URL(inject('redisUrl')), { pathname: '/15' }).href

/** The addresses that the pages show, each with the one that the program uses. */
function addressesOf({ file }: PageProgram): Readonly<Record<string, string>> {
  const postgresUrl = Object.assign(new URL(inject('postgresUrl')), {
    pathname: `/${databases.get(file)}`,
  }).href
  return {
    'redis://localhost:6379': redisUrl(),
    'postgres://localhost/shop': postgresUrl,
    'postgres://shop@db/shop': postgresUrl,
  }
}

async function onServer(statement: (database: string) => string): Promise<void> {
  const client = new Client({ connectionString: inject('postgresUrl') })
  await client.connect()
  for (const database of databases.values()) await client.query(statement(database))
  await client.end()
}

beforeAll(async () => {
  const redis = await createClient({ url: redisUrl() }).connect()
  await redis.flushDb()
  await redis.close()
  await onServer((database) => `create database ${database}`)
  using folder = new ProgramFolder()
  outcomes = await folder.run(programs, addressesOf)
}, paced(60_000))

afterAll(() => onServer((database) => `drop database ${database} with (force)`))

it.each(programs.map(({ file, code }) => [file, code]))('%s prints what its comments say', (file, code) => {
  const { stdout, error } = outcomes[file] ?? {}

  expect(error).toBeUndefined()
  expect(stdout?.split('\n').slice(0, -1)).toEqual(promisedBy(code))
})
