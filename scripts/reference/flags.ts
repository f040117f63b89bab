import type { AnyCommand } from '../../src/cli/command.ts'
import { commands } from '../../src/cli/commands.ts'
import { table } from './tables.ts'

/** A flag with the same meaning in at least this many commands is listed once. */
const SHARED = 5

interface Row {
  readonly flag: string
  readonly meaning: string
}

/** docs/flags.md: the arguments and flags of all commands, from the table that the command line itself uses. */
export function flagsPage(): string {
  const counts = new Map<string, number>()
  for (const row of commands.flatMap(rowsOf)) counts.set(keyOf(row), (counts.get(keyOf(row)) ?? 0) + 1)
  const isShared = (row: Row) => (counts.get(keyOf(row)) ?? 0) >= SHARED
  const shared = new Map(
    commands
      .flatMap(rowsOf)
      .filter(isShared)
      .map((row) => [keyOf(row), row]),
  )
  return [
    '# Commands and their flags',
    'What `npx eventspine <command> --help` prints, for all commands. [command-line.md](command-line.md) explains them with examples. `npm run docs:reference` makes this page from the source.',
    '## Flags of several commands',
    tableOf([...shared.values()]),
    ...commands.flatMap((command) => {
      const own = rowsOf(command).filter((row) => !isShared(row))
      const common = rowsOf(command).filter(isShared)
      const also = common.map(({ flag }) => `\`${flag.split(' ')[0]}\``).join(', ')
      return [
        `## ${command.name}`,
        `\`eventspine ${command.name} ${command.usage}\`: ${command.about}.`,
        ...(own.length === 0 ? [] : [tableOf(own)]),
        ...(common.length === 0 ? [] : [`Also ${also}.`]),
      ]
    }),
  ]
    .join('\n\n')
    .concat('\n')
}

const keyOf = ({ flag, meaning }: Row) => `${flag}: ${meaning}`

const tableOf = (rows: readonly Row[]) =>
  table(
    ['flag', 'meaning'],
    rows.map(({ flag, meaning }) => [`\`${flag}\``, meaning.replaceAll('<', '&lt;')]),
  )

function rowsOf({ options }: AnyCommand): readonly Row[] {
  return Object.entries(options).map(([name, option]) => ({
    flag: `--${name}${option.short === undefined ? '' : `, -${option.short}`}${option.value === undefined ? '' : ` ${option.value}`}`,
    meaning: `${option.about}${'isList' in option ? '; may be repeated' : ''}${'default' in option ? `; default ${option.default}` : ''}`,
  }))
}
