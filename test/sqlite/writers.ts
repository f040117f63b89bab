import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { StoreWriter } from '../../src/testing/index.ts'

const PROGRAM = fileURLToPath(new URL('./writer-program.ts', import.meta.url))

export interface WriterOptions {
  /** Default `'normal'`. */
  readonly durability?: 'full' | 'normal'
  /** Default: the environment of this process. */
  readonly env?: NodeJS.ProcessEnv
}

/** A process that writes to a file until it is killed. Resolves when it has written, as its start takes long on a busy machine. */
export async function startWriter(
  file: string,
  { durability = 'normal', env = process.env }: WriterOptions = {},
): Promise<StoreWriter> {
  const args = [PROGRAM, file, durability]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env })
  const closed = once(child, 'close')
  const acknowledged: string[] = []
  let rest = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop() ?? ''
    acknowledged.push(...lines)
  })
  await Promise.race([once(child.stdout, 'data'), closed])
  return {
    acknowledged,
    async kill() {
      child.kill('SIGKILL')
      await closed
    },
  }
}
