import type { ValueReader } from '../filter-line/index.ts'
import type { ExitCode } from './exit-code.ts'
import type { Terminal } from './terminal.ts'

interface Described {
  /** One phrase for the help, without a full stop. */
  readonly about: string
  /** One letter, for `-f`. */
  readonly short?: string
}

/** An option without a value. */
export interface Flag extends Described {
  readonly value?: undefined
}

/** An option with a value. */
export interface ValueOption<T> extends Described {
  /** How the help shows the value, such as `<file>`. */
  readonly value: string
  readonly read: ValueReader<T>
  /** The default, as text of the command line. */
  readonly default?: string
}

/** An option with a value that may be given several times. */
export interface ListOption<T> extends Described {
  readonly value: string
  readonly read: ValueReader<T>
  readonly isList: true
}

export type OptionTable = Readonly<Record<string, Flag | ValueOption<unknown> | ListOption<unknown>>>

type ValueOf<O> =
  O extends ListOption<infer T>
    ? readonly T[]
    : O extends ValueOption<infer T>
      ? O extends { readonly default: string }
        ? T
        : T | undefined
      : boolean

/** The values of a command's options. */
export type OptionValues<O extends OptionTable> = { readonly [name in keyof O]: ValueOf<O[name]> }

/** What a command gets. */
export interface Invocation<O extends OptionTable> {
  readonly options: OptionValues<O>
  /** The arguments that are not options, in order, without a URL. */
  readonly words: readonly string[]
  /** The URL among the arguments, wherever it stands. */
  readonly url: string | undefined
  readonly terminal: Terminal
}

/** A command, without the types of its options. */
export interface AnyCommand {
  /** One word, or two such as `dlq list`. */
  readonly name: string
  /** One phrase for the list of commands, without a full stop. */
  readonly about: string
  /** The arguments as the help shows them, such as `[url] <id…>`. */
  readonly usage: string
  /** How many arguments besides the URL are allowed. */
  readonly words: readonly [least: number, most: number]
  readonly options: OptionTable
  /** Command lines without `eventspine`. The tests run them. */
  readonly examples: readonly string[]
  readonly run: (invocation: Invocation<OptionTable>) => Promise<ExitCode>
}

export interface Command<O extends OptionTable> extends Omit<AnyCommand, 'options' | 'run'> {
  readonly options: O
  /** Imports the code of the command, so that the help starts fast. */
  readonly run: (invocation: Invocation<O>) => Promise<ExitCode>
}

/** Checks the types of a command. */
export function defineCommand<const O extends OptionTable>(command: Command<O>): AnyCommand {
  // `parseCommandLine` reads the values by this very table.
  return command as AnyCommand
}
