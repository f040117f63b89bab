import { spawn } from 'node:child_process'
import { Socket } from 'node:net'

/**
 * Runs a shell script when this process ends, however it ends: the script waits on a pipe that only this
 * process holds open, so even SIGKILL sets it off.
 *
 * @returns disarms the guard.
 */
export function guard(script: string, ...args: readonly string[]): () => void {
  const shell = spawn('/bin/sh', ['-c', `read -r _; ${script}`, 'guard', ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true, // out of reach of a Ctrl-C meant for us
  })
  shell.unref()
  if (shell.stdin instanceof Socket) shell.stdin.unref()
  return () => {
    shell.kill('SIGKILL')
  }
}
