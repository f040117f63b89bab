import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { StoreWriter } from '../../src/testing/index.ts'

/** Starts a process that writes until it is killed. Resolves when it has written, as its start takes long on a busy machine. */
export async function startWriter(postgresUrl: string, schema: string, prepare = true): Promise<StoreWriter> {
  const program = fileURLToPath(new URL('writer.ts', import.meta.url))
  const child = spawn(process.execPath, [program, postgresUrl, schema, prepare ? 'prepare' : ''], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  const acknowledged: string[] = []
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    acknowledged.push(...lines.flatMap((line) => line.split(' ')))
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
