import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { paced } from '../support/pace.ts'
import type { BrokerHost } from './broker.ts'
import { inRoot } from './debian-root.ts'
import { guard } from './guard.ts'
import { descendantsOf, groupStopped } from './process-group.ts'
import { findProgram } from './programs.ts'
import { run } from './run.ts'

export interface UserIds {
  readonly uid: number
  readonly gid: number
}

export interface NativeCommand {
  /** Contains the data, log and pid file of the broker, and is removed with it. */
  readonly folder: string
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** The folder of the broker's tools, if they are not on the PATH. */
  readonly toolFolder?: string
  /** Paths of tools that are in other folders, by name. */
  readonly tools?: Readonly<Record<string, string>>
  /** The user it runs as, for a server that refuses root. */
  readonly user?: UserIds
  /** The signal of `stop`. Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals
  /** Its processes create their own sessions, which a signal to the process group does not reach. */
  readonly hasSessions?: boolean
  /** The root folder of the broker and its tools, if it is not that of this machine. */
  readonly root?: string | undefined
}

const stopTimeoutMs = paced(30_000)
const logTailLines = 30

/** Runs a broker as a process group on this machine. */
export class NativeHost implements BrokerHost {
  readonly #command: NativeCommand
  readonly #disarm: () => void
  #child: ChildProcess | undefined

  constructor(command: NativeCommand) {
    this.#command = command
    this.#disarm = guard('kill -s KILL -- "-$(cat "$1/pid")"; rm -rf -- "$1"', command.folder)
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  async start(): Promise<void> {
    if (this.#child) throw new Error(`${this.#command.command} is already running as process ${this.pid}`)
    const { env, folder, root, user } = this.#command
    const own = [this.#command.command, this.#command.args] as const
    const [command, args] = root === undefined ? own : inRoot(root, ...own)
    const log = openSync(this.#path('log'), 'a')
    const child = spawn(command, args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', log, log],
      ...user,
      detached: true, // a separate process group: signals reach all of it, a Ctrl-C for this process does not
    })
    closeSync(log)
    await once(child, 'spawn')
    child.unref()
    this.#child = child
    await writeFile(this.#path('pid'), String(child.pid))
  }

  async stop(): Promise<void> {
    this.#signalGroup('SIGCONT') // a frozen process would not receive the next signal
    this.#child?.kill(this.#command.stopSignal ?? 'SIGTERM')
    if (await this.#ended(stopTimeoutMs)) return
    const tail = await this.logTail()
    await this.kill()
    throw new Error(
      `${this.#command.command} did not end within ${stopTimeoutMs} ms. Its log ends with:\n${tail}`,
    )
  }

  async kill(): Promise<void> {
    this.#signalGroup('SIGKILL')
    await this.#ended(stopTimeoutMs)
  }

  async freeze(): Promise<void> {
    this.#signalGroup('SIGSTOP')
    for (const group of this.#groups()) await groupStopped(group)
  }

  async thaw(): Promise<void> {
    this.#signalGroup('SIGCONT')
  }

  async remove(): Promise<void> {
    await this.kill()
    this.#disarm()
    await rm(this.#command.folder, { recursive: true, force: true, maxRetries: 10 })
  }

  async exec(tool: string, args: readonly string[]): Promise<string> {
    const { toolFolder, tools, env, root } = this.#command
    if (root !== undefined)
      return await run(...inRoot(root, toolFolder === undefined ? tool : join(toolFolder, tool), args), env)
    const inFolder = toolFolder === undefined ? tool : join(toolFolder, tool)
    return await run((await findProgram(tools?.[tool] ?? inFolder)) ?? tool, args, env)
  }

  async checkAlive(): Promise<void> {
    if (this.#child && isRunning(this.#child)) return
    throw new Error(`${this.#command.command} ended. Its log ends with:\n${await this.logTail()}`)
  }

  async logTail(): Promise<string> {
    const log = await readFile(this.#path('log'), 'utf8')
    return log.trimEnd().split('\n').slice(-logTailLines).join('\n')
  }

  async #ended(timeoutMs: number): Promise<boolean> {
    const child = this.#child
    if (!child) return true
    if (isRunning(child) && !(await exits(child, timeoutMs))) return false
    this.#signalGroup('SIGKILL') // processes that the broker left behind, such as RabbitMQ's epmd
    this.#child = undefined
    await rm(this.#path('pid'))
    return true
  }

  #signalGroup(signal: NodeJS.Signals): void {
    for (const group of this.#groups()) signalGroup(group, signal)
  }

  #groups(): readonly number[] {
    const pid = this.pid
    if (pid === undefined) return []
    return this.#command.hasSessions === true ? [pid, ...descendantsOf(pid)] : [pid]
  }

  #path(name: string): string {
    return join(this.#command.folder, name)
  }
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

async function exits(child: ChildProcess, timeoutMs: number): Promise<boolean> {
  child.ref() // otherwise this process could end while waiting
  try {
    await once(child, 'exit', { signal: AbortSignal.timeout(timeoutMs) })
    return true
  } catch {
    return false // the deadline has passed; an exit never rejects
  } finally {
    child.unref()
  }
}
