import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Scene } from './scene.ts'

// In the package, this code is in a file of dist/testing/ or dist/parts/.
const FILE = import.meta.url.endsWith('.ts')
  ? './probe-program.ts'
  : '../testing/conformance/probe-program.js'
const PROGRAM = fileURLToPath(new URL(FILE, import.meta.url))

/** A release of the code that a process runs. */
export type Release = 'before' | 'during' | 'later'

/** A process with a bus of the same scope, and its output. */
export class Probe {
  readonly process: ChildProcess
  output = ''

  constructor(scene: Scene, mode: 'comeAndGo' | 'publishOnly' | 'hang' | 'share' | 'replay' | Release) {
    this.process = spawn(process.execPath, [PROGRAM, scene.module ?? '', scene.scope, mode], {
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += String(chunk)
      })
    }
    void scene.ended.then(() => this.process.kill('SIGKILL'))
  }

  /** The words after this one, in lines that start with it. */
  linesWith(word: string): readonly string[] {
    return this.output
      .split('\n')
      .filter((line) => line.startsWith(`${word} `))
      .map((line) => line.slice(word.length + 1))
  }

  send(line: string): void {
    this.process.stdin?.write(`${line}\n`)
  }

  /** Ends its input, after which a release shuts down. */
  end(): Promise<number | null> {
    this.process.stdin?.end()
    return this.exitCode()
  }

  async exitCode(): Promise<number | null> {
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'close')
    return this.process.exitCode
  }
}
