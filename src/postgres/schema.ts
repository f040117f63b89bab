import { withDrawnPosition } from './drawn-position.ts'
import { effectsSchema, numberOutbox, outboxEnd } from './effects-schema.ts'
import { append, appendMany, deleteStream, enterRegister, feedEnd, feedNext } from './schema-functions.ts'
import { tables } from './schema-tables.ts'

/** A migration of the schema. A released migration never changes; each change is a new migration. */
export interface SchemaStep {
  readonly version: number
  readonly name: string
  /** The oldest schema version whose releases still work after this migration. */
  readonly oldestLibrary: number
  /** Statements in which `{schema}` stands for the quoted name of the schema. */
  readonly sql: string
}

const register = `${feedEnd}${feedNext}${enterRegister}`
const initial = `${tables}${register}${append}${deleteStream}${appendMany}`
const readers = `${feedEnd}${enterRegister}${append}${appendMany}${numberOutbox}${outboxEnd}`

/** All migrations, in order. */
export const schemaSteps: readonly SchemaStep[] = [
  { version: 1, name: 'event store', oldestLibrary: 1, sql: initial },
  { version: 2, name: 'inbox and outbox', oldestLibrary: 1, sql: effectsSchema },
  {
    version: 3,
    name: 'stacks of parked events',
    oldestLibrary: 1,
    sql: 'alter table {schema}.parked_events add column error_stack text;',
  },
  { version: 4, name: 'exact ends of the sequences', oldestLibrary: 1, sql: withDrawnPosition(readers) },
]

/** Version of the schema that this release needs. */
export const schemaVersion = schemaSteps.length
