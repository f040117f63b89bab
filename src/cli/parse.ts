import { parseArgs } from 'node:util'
import { nearest } from '../kit/spelling.ts'
import type { AnyCommand, Flag, Invocation, ListOption, OptionTable, ValueOption } from './command.ts'
import { UsageError } from './exit-code.ts'

type AnyOption = Flag | ValueOption<unknown> | ListOption<unknown>

const URL_LIKE = /^[a-z][a-z0-9+.-]*:/i

const valueOptionOf = (option: AnyOption) => (option.value === undefined ? undefined : option)
const isList = (option: AnyOption) => 'isList' in option

/** Reads the arguments after a command's name. @throws UsageError with one sentence. */
export function parseCommandLine(
  command: AnyCommand,
  args: readonly string[],
): Omit<Invocation<OptionTable>, 'terminal'> {
  const { tokens } = parseArgs({
    args: [...args],
    options: specOf(command.options),
    strict: false,
    tokens: true,
    allowPositionals: true,
  })
  const texts = new Map<string, string[]>()
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    const value = textOf(command, token)
    texts.set(token.name, [...(texts.get(token.name) ?? []), value])
  }
  const urls = positionals.filter((word) => URL_LIKE.test(word))
  const words = positionals.filter((word) => !URL_LIKE.test(word))
  checkWords(command, words, urls)
  const entries = Object.entries(command.options).map(
    ([name, option]) => [name, readOption(name, option, texts.get(name) ?? [])] as const,
  )
  return { options: Object.fromEntries(entries), words, url: urls[0] }
}

function specOf(options: OptionTable) {
  return Object.fromEntries(
    Object.entries(options).map(([name, option]) => [
      name,
      {
        type: option.value === undefined ? ('boolean' as const) : ('string' as const),
        multiple: true,
        ...(option.short === undefined ? {} : { short: option.short }),
      },
    ]),
  )
}

interface OptionToken {
  readonly name: string
  readonly rawName: string
  readonly value: string | undefined
  readonly inlineValue: boolean | undefined
}

function textOf(command: AnyCommand, { name, rawName, value, inlineValue }: OptionToken): string {
  const option = command.options[name]
  if (option === undefined) {
    const hint = nearest(name, Object.keys(command.options))
    const remedy = hint === undefined ? `see eventspine ${command.name} --help` : `did you mean --${hint}?`
    throw new UsageError(`Unknown option ${rawName}: ${remedy}`)
  }
  if (option.value === undefined && value !== undefined) throw new UsageError(`${rawName} takes no value.`)
  // `--file --json` lacks the name of the file.
  const isMissing = value === undefined || value === '' || (inlineValue === false && value.startsWith('--'))
  if (option.value !== undefined && isMissing) {
    throw new UsageError(`${rawName} needs a value: ${rawName} ${option.value}`)
  }
  return value ?? ''
}

function readOption(name: string, option: AnyOption, texts: readonly string[]): unknown {
  const read = valueOptionOf(option)
  if (read === undefined) return texts.length > 0
  const readText = (text: string) => {
    try {
      return read.read(text)
    } catch (thrown) {
      if (thrown instanceof UsageError) throw new UsageError(`--${name} ${thrown.message}.`)
      throw thrown
    }
  }
  if (isList(option)) return texts.map(readText)
  if (texts.length > 1) throw new UsageError(`--${name} is given ${texts.length} times: give it once.`)
  const text = texts[0] ?? ('default' in read ? read.default : undefined)
  return text === undefined ? undefined : readText(text)
}

function checkWords(command: AnyCommand, words: readonly string[], urls: readonly string[]): void {
  const [least, most] = command.words
  if (urls.length > 1) throw new UsageError('More than one URL is given: give one.')
  if (words.length >= least && words.length <= most) return
  const problem =
    words.length < least ? 'An argument is missing' : `${JSON.stringify(words[most])} is unexpected`
  throw new UsageError(`${problem}: eventspine ${command.name} ${command.usage}`)
}
