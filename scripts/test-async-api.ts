// Validates an AsyncAPI document of all buses with the official parser, and compares the messages as the parser resolves
// them with what the codec accepts. npm installs the parser into node_modules/.cache: it has 170 packages.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { asyncApiOf, contractOf } from '../src/index.ts'
import { compareWithCodec, DESCRIBED } from '../test/contract/described-events.ts'

const PARSER = '@asyncapi/parser'
const VERSION = '3.6.6'

/** What this script uses of the parser. */
interface ParserLibrary {
  readonly Parser: new () => {
    parse(
      document: string,
    ): Promise<{ readonly document?: ParsedDocument; readonly diagnostics: readonly Diagnostic[] }>
  }
}
interface ParsedDocument {
  messages(): { all(): readonly ParsedMessage[] }
}
interface ParsedMessage {
  name(): string | undefined
  payload(): { json(): object } | undefined
}
interface Diagnostic {
  /** 0 is an error, 1 a warning. */
  readonly severity: number
  readonly message: string
  readonly path: readonly (string | number)[]
}

const classes = DESCRIBED.map(([, eventClass]) => eventClass)
const written = asyncApiOf(contractOf(classes), {
  title: 'Orders',
  version: '1.0.0',
  channels: [
    { bus: 'redis', name: 'events' },
    { bus: 'rabbitmq', name: 'orders' },
    { bus: 'kafka', name: 'shop' },
  ],
})
const { Parser } = load()
const { document, diagnostics } = await new Parser().parse(JSON.stringify(written))
for (const { severity, message, path } of diagnostics) {
  console.log(`${severity === 0 ? 'error' : 'note'}: ${path.join('.')}: ${message}`)
}
if (document === undefined || diagnostics.some(({ severity }) => severity === 0)) {
  throw new Error('The parser refuses the document.')
}
console.log(`${PARSER} accepts the document`)

for (const [what, eventClass, payloads] of DESCRIBED) {
  const message = document
    .messages()
    .all()
    .find((one) => one.name() === eventClass.eventType)
  const schema = message?.payload()?.json()
  if (schema === undefined) throw new Error(`The document has no message for ${eventClass.eventType}.`)
  const { accepted, refused } = compareWithCodec(schema, eventClass, payloads)
  console.log(`${what}: ${accepted} messages accepted and ${refused} refused, as by the codec`)
}

function load(): ParserLibrary {
  const home = join(import.meta.dirname, '..', 'node_modules', '.cache', 'asyncapi')
  if (!existsSync(join(home, 'node_modules', PARSER))) {
    mkdirSync(home, { recursive: true })
    writeFileSync(join(home, 'package.json'), '{ "private": true }')
    const install = [
      'install',
      '--no-audit',
      '--no-fund',
      '--no-save',
      '--ignore-scripts',
      `${PARSER}@${VERSION}`,
    ]
    const { status, stderr } = spawnSync('npm', install, { cwd: home, encoding: 'utf8' })
    if (status !== 0) throw new Error(`npm install ${PARSER}@${VERSION} failed:\n${stderr}`)
  }
  // The exports that are named above are those of the installed version.
  return createRequire(join(home, 'package.json'))(PARSER) as ParserLibrary
}
