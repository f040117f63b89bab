import { settledWithin } from '../kit/time.ts'
import type { AnyCommand } from './command.ts'
import { loadConfig } from './config-file.ts'
import { parseCommandLine } from './parse.ts'
import type { Terminal } from './terminal.ts'

/** How long a shell waits for the names of groups, in milliseconds. */
const MAX_WAIT_MS = 2000

/**
 * The words that may stand at the end of a command line. @param words - the words after `eventspine`; the last one is
 * incomplete, and may be empty.
 */
export async function candidates(
  commands: readonly AnyCommand[],
  words: readonly string[],
  terminal: Terminal,
): Promise<readonly string[]> {
  const last = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  const all = before.length === 0 ? firstWords(commands) : await laterWords(commands, before, last, terminal)
  return [...new Set(all)].filter((word) => word.startsWith(last))
}

const firstWords = (commands: readonly AnyCommand[]) => commands.map(({ name }) => name.split(' ')[0] ?? name)

async function laterWords(
  commands: readonly AnyCommand[],
  before: readonly string[],
  last: string,
  terminal: Terminal,
): Promise<readonly string[]> {
  const { workingDirectory, environment } = terminal
  const command =
    commands.find(({ name }) => name === before.slice(0, 2).join(' ')) ??
    commands.find(({ name }) => name === before[0])
  const subcommands = commands
    .filter(({ name }) => name.startsWith(`${before.join(' ')} `))
    .map(({ name }) => name.split(' ')[1] ?? '')
  if (command === undefined) return subcommands
  const given = before.slice(command.name.split(' ').length)
  const previous = before.at(-1)
  if (previous === '--bus' || previous === '--store') {
    const config = await loadConfig(workingDirectory, environment['EVENTSPINE_CONFIG'])
    return Object.keys(previous === '--bus' ? config.buses : config.stores)
  }
  if (previous === '--group') return groupNames(command, given.slice(0, -1), terminal)
  // Any other value is the user's own.
  if (command.options[previous?.slice(2) ?? '']?.value !== undefined) return []
  const options = [...Object.keys(command.options), 'help'].map((name) => `--${name}`)
  if (last.startsWith('-')) return options
  return [...subcommands, ...(await firstArguments(command, given, terminal)), ...options]
}

/** What the first argument may be, as the usage declares it. */
async function firstArguments(
  command: AnyCommand,
  given: readonly string[],
  terminal: Terminal,
): Promise<readonly string[]> {
  const [first = ''] = command.usage.split(' ')
  if (first.includes('|')) return given.length === 0 ? first.slice(1, -1).split('|') : []
  return ['<group>', '[group]'].includes(first) ? groupNames(command, given, terminal) : []
}

/** The consumer groups of the bus that the words name; none if it does not answer, or if the words name a group already. */
async function groupNames(
  command: AnyCommand,
  given: readonly string[],
  terminal: Terminal,
): Promise<readonly string[]> {
  try {
    const [least] = command.words
    const { words, url, options } = parseCommandLine(command, least === 0 ? given : [...given, 'group'])
    if (words.length > least) return []
    const [{ busTarget }, { createQuietBus }] = await Promise.all([
      import('./target.ts'),
      import('./open-bus.ts'),
    ])
    await using bus = createQuietBus(await busTarget({ url, options, terminal }))
    const groups = bus.admin.groups()
    return (await settledWithin(groups, MAX_WAIT_MS)) ? (await groups).map(({ name }) => name) : []
  } catch {
    // A shell shows nothing for a line that cannot be completed.
    return []
  }
}
