import { append, appendMany, deleteStream, register } from './schema-functions.ts'
import { tables } from './schema-tables.ts'

/** A step of the schema. Steps are never changed once they were released: a new one follows. */
export interface SchemaStep {
  readonly version: number
  readonly name: string
  /** The oldest schema version that a release may know and still work with this step in place. */
  readonly oldestLibrary: number
  /** Statements in which `{schema}` stands for the quoted name of the schema. */
  readonly sql: string
}

const initial = `${tables}${register}${append}${deleteStream}${appendMany}`

/** All steps, in order. */
export const schemaSteps: readonly SchemaStep[] = [
  { version: 1, name: 'event store', oldestLibrary: 1, sql: initial },
]

/** Version of the schema that this release needs. */
export const schemaVersion = schemaSteps.length
