import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/** Runs a program to its end and returns its stdout. If it fails, throws an error with its whole output. */
export async function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  user: { readonly uid: number; readonly gid: number } | undefined = undefined,
): Promise<string> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  })
  const closed = once(child, 'close')
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), closed])
  if (child.exitCode === 0) return out
  throw new Error(
    `${command} ${args.join(' ')} ended with ${child.exitCode ?? child.signalCode}:\n${out}${err}`,
  )
}
