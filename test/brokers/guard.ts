import { spawn } from 'node:child_process'
import { Socket } from 'node:net'

/**
 * Runs a shell script when this process ends, for any cause. The script waits on a pipe that only this process holds
 * open, so even SIGKILL triggers it.
 *
 * @returns a function that disarms the guard.
 */
export function guard(script: string, ...args: readonly string[]): () => void {
  const shell = spawn('/bin/sh', ['-c', `read -r _; ${script}`, 'guard', ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true, // does not receive a Ctrl-C meant for this process
  })
  shell.unref()
  if (shell.stdin instanceof Socket) shell.stdin.unref()
  return () => {
    shell.kill('SIGKILL')
  }
}
