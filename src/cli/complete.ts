import type { AnyCommand } from './command.ts'
import { loadConfig } from './config-file.ts'
import type { Terminal } from './terminal.ts'

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
  const all = before.length === 0 ? firstWords(commands) : await laterWords(commands, before, terminal)
  return [...new Set(all)].filter((word) => word.startsWith(last))
}

const firstWords = (commands: readonly AnyCommand[]) => commands.map(({ name }) => name.split(' ')[0] ?? name)

async function laterWords(
  commands: readonly AnyCommand[],
  before: readonly string[],
  { workingDirectory, environment }: Terminal,
): Promise<readonly string[]> {
  const command =
    commands.find(({ name }) => name === before.slice(0, 2).join(' ')) ??
    commands.find(({ name }) => name === before[0])
  if (command === undefined) {
    const group = commands.filter(({ name }) => name.startsWith(`${before[0]} `))
    return group.map(({ name }) => name.split(' ')[1] ?? '')
  }
  const previous = before.at(-1)
  if (previous === '--bus' || previous === '--store') {
    const config = await loadConfig(workingDirectory, environment['EVENTSPINE_CONFIG'])
    return Object.keys(previous === '--bus' ? config.buses : config.stores)
  }
  return [...Object.keys(command.options), 'help'].map((name) => `--${name}`)
}
