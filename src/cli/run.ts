import { toError } from '../errors.ts'
import type { Outcome, Output } from './outcome.ts'
import { checkSchema, writeSchema } from './schema.ts'
import { readSchemaOptions, UsageError } from './schema-options.ts'

const USAGE = `eventspine schema --events <module> [options]

Writes the events of a service to a contract file, or checks that this release can read
what earlier releases wrote, and that its consumers can read what it writes.

  --events <module>      module that exports event classes or a registry; repeatable
  --file <file>          the contract file; default events.contract.json
  --check                compare with the file instead of writing it
  --consumer <file>      contract file of a service that reads the events; repeatable, with --check
  --asyncapi <file>      write an AsyncAPI 3.0 document, too
  --channel <bus=name>   for --asyncapi: redis=<streamPrefix>, rabbitmq=<exchangeName> or
                         kafka=<topicPrefix>; repeatable
  --title <text>         for --asyncapi; default Events
  --api-version <text>   for --asyncapi; default 1.0.0
  --json                 print the result as JSON`

/** Runs a command line. Never rejects. */
export async function run(args: readonly string[], output: Output): Promise<Outcome> {
  const [command, ...rest] = args
  if (command === '--help' || command === 'help' || rest.includes('--help')) {
    output.out(USAGE)
    return { exitCode: 0 }
  }
  try {
    if (command !== 'schema') throw new UsageError(`Unknown command: ${command ?? '(none)'}.`)
    const options = readSchemaOptions(rest)
    return options.isCheck ? await checkSchema(options, output) : await writeSchema(options, output)
  } catch (thrown) {
    output.err(toError(thrown).message)
    if (thrown instanceof UsageError) output.err(`\n${USAGE}`)
    return { exitCode: 2 }
  }
}
