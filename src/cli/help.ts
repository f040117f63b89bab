import type { AnyCommand, OptionTable } from './command.ts'

const WIDTH = 100

/** The list of all commands. */
export function overview(commands: readonly AnyCommand[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  return [
    'eventspine <command> [url] [options]',
    '',
    ...commands.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`),
    '',
    'If the event of an order was not handled:',
    `  eventspine dlq list <url> --filter 'aggregate:<order>'   the error and the handler that failed`,
    '  eventspine dlq replay <dead-letter-id> <url>             once its cause is fixed',
    '  eventspine explain <event-id> <url>                      how far each group is with it now',
    '',
    'eventspine <command> --help lists the options of a command.',
    'A URL starts with memory:, redis://, rediss://, amqp://, amqps://, kafka://, postgres:// or sqlite:.',
    'Without a URL: --bus or --store, EVENTSPINE_URL, EVENTSPINE_URL_FILE, or eventspine.config.ts.',
  ].join('\n')
}

/** The help of one command. */
export function helpOf({ name, about, usage, options, examples }: AnyCommand): string {
  return [
    `eventspine ${name} ${usage}`.trimEnd(),
    '',
    `${about}.`,
    '',
    ...optionLines({ ...options, help: { about: 'show this help' } }),
    ...(examples.length === 0 ? [] : ['', 'Examples:', ...examples.map((line) => `  eventspine ${line}`)]),
  ].join('\n')
}

function optionLines(options: OptionTable): readonly string[] {
  const rows = Object.entries(options).map(([name, option]) => {
    const short = option.short === undefined ? '' : `-${option.short}, `
    const value = option.value === undefined ? '' : ` ${option.value}`
    const isRepeatable = 'isList' in option ? '; repeatable' : ''
    const byDefault = 'default' in option ? `; default ${option.default}` : ''
    return { left: `  ${short}--${name}${value}`, right: `${option.about}${isRepeatable}${byDefault}` }
  })
  const width = Math.min(30, Math.max(...rows.map(({ left }) => left.length)))
  return rows.flatMap(({ left, right }) => {
    const [first = '', ...others] = wrapped(right, WIDTH - width - 2)
    const indent = ' '.repeat(width + 2)
    const head = left.length > width ? [left, `${indent}${first}`] : [`${left.padEnd(width)}  ${first}`]
    return [...head, ...others.map((line) => `${indent}${line}`)]
  })
}

function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length >= width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
