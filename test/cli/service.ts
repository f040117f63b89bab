import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A service's folder, and the command in it. It runs on the build, as the events of the service do. */
export function service(environment: Readonly<Record<string, string>> = {}) {
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache', 'service-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return {
    folder,
    write: (file: string, text: string) => writeFileSync(join(folder, file), text),
    read: (file: string) => JSON.parse(readFileSync(join(folder, file), 'utf8')),
    run: (...args: readonly string[]) =>
      new Promise<CommandResult>((resolve) => {
        // Node.js 22 warns of `node:sqlite` on stderr.
        const command = ['--disable-warning=ExperimentalWarning', join(root, 'dist/cli/main.js'), ...args]
        // `verify --json` lists each event that waits.
        const maxBuffer = 64 * 1024 * 1024
        const options = { cwd: folder, env: { ...process.env, ...environment }, maxBuffer }
        const child = execFile(process.execPath, command, options, (error, stdout, stderr) => {
          resolve({ code: Number(error?.code ?? 0), stdout, stderr })
        })
        child.stdin?.end()
      }),
  }
}
