// Python peers: child processes in a virtual environment of the benchmark, which exchange JSON lines.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const folder = fileURLToPath(new URL('../../node_modules/.cache/eventspine-bench', import.meta.url))

export interface PythonPackages {
  /** Name of the environment. */
  readonly name: string
  /** Requirements for pip. */
  readonly requirements: readonly string[]
}

/**
 * @returns the interpreter of the environment, which is created on first use. If Python is missing, undefined, with one
 * line on stderr.
 */
export async function environmentOf({ name, requirements }: PythonPackages): Promise<string | undefined> {
  const environment = `${folder}/${name}`
  const python = `${environment}/bin/python`
  const mark = `${environment}/complete`
  if (existsSync(mark)) return python
  try {
    process.stderr.write(`Installing ${requirements.join(', ')} into node_modules/.cache\n`)
    await run('python3', ['-m', 'venv', '--clear', environment])
    await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...requirements])
    await run('touch', [mark])
    return python
  } catch (error) {
    const [line] = String(error).split('\n')
    process.stderr.write(`Skipped ${name}: Python or its package is not available (${line})\n`)
    return undefined
  }
}

/** @returns the installed version of a package. */
export async function pythonVersionOf(python: string, name: string): Promise<string> {
  const program = `from importlib.metadata import version; print(version('${name}'))`
  return (await run(python, ['-c', program])).stdout.trim()
}

/** A running program that answers each line with one line. */
export class PythonPeer implements AsyncDisposable {
  readonly #child
  readonly #lines

  constructor(python: string, program: string, args: readonly string[]) {
    const path = fileURLToPath(new URL(program, import.meta.url))
    this.#child = spawn(python, [path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  async ask<T>(question: object): Promise<T> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the peer ended without an answer')
    // The program's output format.
    return JSON.parse(value) as T
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill()
    await ended
  }
}
