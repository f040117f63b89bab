import { EventspineError, toError } from '../errors.ts'
import { nearest } from '../kit/spelling.ts'
import type { AnyCommand } from './command.ts'
import { commands } from './commands.ts'
import { candidates } from './complete.ts'
import { EXIT, type ExitCode, NotFoundError, UsageError } from './exit-code.ts'
import { helpOf, overview } from './help.ts'
import { parseCommandLine } from './parse.ts'
import type { Terminal } from './terminal.ts'

/** Errors of the broker or the store that another command line does not cure. */
const UNREACHABLE = new Set([
  'CONNECTION_FAILED',
  'CONNECTION_LOST',
  'AUTHENTICATION_FAILED',
  'TOPOLOGY_CONFLICT',
  'STORE_UNAVAILABLE',
  'PUBLISH_TIMEOUT',
])

/** Runs a command line. Never rejects. */
export async function run(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  try {
    // The completion scripts of the shells ask for it.
    if (args[0] === '__complete') {
      const words = await candidates(commands, args.slice(1), terminal)
      if (words.length > 0) await terminal.out(words.join('\n'))
      return EXIT.done
    }
    const found = find(args)
    if (found === undefined) {
      await terminal.out(overview(commands))
      return EXIT.done
    }
    const { command, rest } = found
    if (rest.includes('--help') || rest.includes('-h')) {
      await terminal.out(helpOf(command))
      return EXIT.done
    }
    return await command.run({ ...parseCommandLine(command, rest), terminal })
  } catch (thrown) {
    terminal.err(toError(thrown).message)
    return exitCodeOf(thrown)
  }
}

/** The command that the first one or two arguments name; undefined if they ask for the overview. @throws UsageError */
function find(args: readonly string[]): { command: AnyCommand; rest: readonly string[] } | undefined {
  const [first, second] = args
  if (first === undefined) throw new UsageError(overview(commands))
  if (['--help', '-h', 'help'].includes(first)) {
    if (first !== 'help' || second === undefined) return undefined
    return find([...args.slice(1), '--help'])
  }
  for (const length of [2, 1]) {
    const name = args.slice(0, length).join(' ')
    const command = commands.find((one) => one.name === name)
    if (command !== undefined) return { command, rest: args.slice(length) }
  }
  const group = commands.filter(({ name }) => name.startsWith(`${first} `))
  if (group.length > 0) {
    const names = group.map(({ name }) => name.slice(first.length + 1))
    if (second === '--help') throw new UsageError(overview(group))
    const hint = second === undefined ? undefined : nearest(second, names)
    throw new UsageError(
      `eventspine ${first} needs ${names.join(', ')}${hint === undefined ? '' : `: did you mean ${hint}?`}`,
    )
  }
  const hint = nearest(
    first,
    commands.map(({ name }) => name),
  )
  const remedy = hint === undefined ? 'eventspine --help lists them' : `did you mean ${hint}?`
  throw new UsageError(`Unknown command ${JSON.stringify(first)}: ${remedy}`)
}

function exitCodeOf(thrown: unknown): ExitCode {
  if (thrown instanceof UsageError) return EXIT.usage
  if (thrown instanceof NotFoundError) return EXIT.notFound
  if (!(thrown instanceof EventspineError)) return EXIT.failed
  if (thrown.code === 'CONFIG_INVALID') return EXIT.usage
  if (thrown.code === 'GROUP_NOT_FOUND') return EXIT.notFound
  return UNREACHABLE.has(thrown.code) || thrown.code.endsWith('_NOT_AVAILABLE')
    ? EXIT.unreachable
    : EXIT.failed
}
