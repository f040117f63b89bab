import { createInterface } from 'node:readline/promises'
import type { Terminal } from './terminal.ts'

/** The terminal of this process. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr } = process
  // A reader such as `head` that has enough ends the command, quietly.
  stdout.on('error', (error) => {
    if (Reflect.get(error, 'code') === 'EPIPE') process.exit(0)
    throw error
  })
  let interrupted: AbortController | undefined
  return {
    out: (text) =>
      new Promise((resolve) => {
        if (stdout.write(`${text}\n`)) resolve()
        else stdout.once('drain', resolve)
      }),
    err: (text) => void stderr.write(`${text}\n`),
    columns: stdout.isTTY ? stdout.columns : undefined,
    hasColor: hasColor(),
    ask: stdin.isTTY ? ask : undefined,
    environment: process.env,
    workingDirectory: process.cwd(),
    get interrupted() {
      interrupted ??= abortedBySigint()
      return interrupted.signal
    },
  }
}

function hasColor(): boolean {
  const { NO_COLOR, FORCE_COLOR } = process.env
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0'
  return process.stdout.isTTY && process.stdout.hasColors()
}

async function ask(question: string): Promise<string> {
  const reader = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await reader.question(question)
  } finally {
    reader.close()
  }
}

/** The first Ctrl-C asks the command to stop, the second one ends the process. */
function abortedBySigint(): AbortController {
  const controller = new AbortController()
  process.once('SIGINT', () => controller.abort())
  return controller
}
