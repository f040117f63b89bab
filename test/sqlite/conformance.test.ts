import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'vitest'
import type { SqliteStores } from '../../src/sqlite/index.ts'
import { describeStores, type StoreWriter } from '../../src/testing/index.ts'
import { fileOf, suiteHooks } from './sqlite-scene.ts'

const PROGRAM = fileURLToPath(new URL('./writer-program.ts', import.meta.url))

/** A process that writes to the file of stores. */
function startWriter(stores: SqliteStores): StoreWriter {
  const child = spawn(process.execPath, [PROGRAM, fileOf(stores)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const acknowledged: string[] = []
  let rest = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop() ?? ''
    acknowledged.push(...lines)
  })
  return {
    acknowledged,
    async kill() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

const lacks = { concurrentTransactions: 'SQLite has one writer at a time' }

describeStores('SqliteStores, in a worker', {
  runner: { describe, it },
  ...suiteHooks({ durability: 'normal' }),
  startWriter,
  lacks,
  writers: 20,
})

describeStores('SqliteStores, on the main thread', {
  runner: { describe, it },
  ...suiteHooks({ worker: false, durability: 'normal' }),
  startWriter,
  lacks,
  writers: 20,
})
