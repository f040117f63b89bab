import { createReadStream } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { DeadLetterFilter } from '../../bus/index.ts'
import { EXIT, type ExitCode, UsageError } from '../exit-code.ts'
import type { Terminal } from '../terminal.ts'
import { actorOf, lettersOf, type OpenDlq } from './context.ts'

export async function exportLetters(
  { bus }: OpenDlq,
  {
    filter,
    file,
    terminal,
  }: {
    readonly filter: DeadLetterFilter
    readonly file: string | undefined
    readonly terminal: Terminal
  },
): Promise<ExitCode> {
  const { interrupted: signal } = terminal
  await using handle =
    file === undefined ? undefined : await openFile(resolve(terminal.workingDirectory, file), 'wx')
  let count = 0
  for await (const letter of bus.deadLetters.export(filter, { signal })) {
    const line = JSON.stringify(letter)
    if (handle === undefined) await terminal.out(line)
    else await handle.appendFile(`${line}\n`)
    count += 1
  }
  await handle?.sync()
  terminal.err(`exported ${lettersOf(count)}`)
  return signal.aborted ? EXIT.interrupted : EXIT.done
}

export async function importLetters(
  { bus }: OpenDlq,
  {
    file,
    by,
    reason,
    terminal,
  }: {
    readonly file: string
    readonly by: string | undefined
    readonly reason: string | undefined
    readonly terminal: Terminal
  },
): Promise<ExitCode> {
  const { interrupted: signal } = terminal
  const count = await bus.deadLetters.import(linesOf(file, terminal), { signal, ...actorOf({ by, reason }) })
  terminal.err(`imported ${lettersOf(count)}`)
  return signal.aborted ? EXIT.interrupted : EXIT.done
}

async function* linesOf(file: string, { workingDirectory }: Terminal): AsyncGenerator<unknown> {
  const input = file === '-' ? process.stdin : createReadStream(resolve(workingDirectory, file))
  let number = 0
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1
    if (line.trim() === '') continue
    try {
      yield JSON.parse(line)
    } catch {
      throw new UsageError(`Line ${number} of ${file} is not JSON; the lines before it are imported.`)
    }
  }
}
