import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { commands } from '../../src/cli/commands.ts'
import { run } from '../../src/cli/run.ts'
import type { Terminal } from '../../src/cli/terminal.ts'

/** A terminal that keeps what it is given, and answers with `answer`. */
export function shell(url: string, prefix: string, answer?: string) {
  const folder = mkdtempSync(join(tmpdir(), 'eventspine-commands-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const interrupt = new AbortController()
  return {
    folder,
    interrupt,
    run: async (...args: readonly string[]) => {
      const lines: string[] = []
      const messages: string[] = []
      const terminal: Terminal = {
        out: (text) => Promise.resolve(void lines.push(text)),
        err: (text) => void messages.push(text),
        columns: undefined,
        hasColor: false,
        ask: answer === undefined ? undefined : () => Promise.resolve(answer),
        environment: {},
        workingDirectory: folder,
        interrupted: interrupt.signal,
      }
      const code = await run([...args, url, '--prefix', prefix], terminal)
      return { code, stdout: lines.join('\n'), stderr: messages.join('\n') }
    },
  }
}

/** The examples of the commands with these names that use a broker. */
export function examplesOf(...names: readonly string[]): readonly string[] {
  return commands
    .filter(({ name }) => names.includes(name.split(' ')[0] ?? ''))
    .flatMap(({ examples }) => examples)
    .filter((line) => line.includes(' redis://localhost'))
    .map((line) => line.replace(' redis://localhost', ''))
}
