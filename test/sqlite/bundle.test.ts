import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The built package without the file of the worker thread, as it is inside a bundle. */
function bundled(): string {
  mkdirSync(join(root, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(root, '.cache', 'bundle-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(join(root, 'dist'), join(folder, 'dist'), {
    recursive: true,
    filter: (path) => !path.endsWith(join('sqlite', 'thread.js')),
  })
  return folder
}

it('works without a worker thread inside a bundle, which has no file for it, and logs this', () => {
  const folder = bundled()
  writeFileSync(
    join(folder, 'program.mjs'),
    `import { GenericEvent } from './dist/index.js'
     import { SqliteStores } from './dist/sqlite/index.js'
     const lines = []
     const line = (message) => lines.push(message)
     const logger = { debug: line, info: line, warn: line, error: line }
     const stores = new SqliteStores({ file: 'events.db', logger })
     const stream = { aggregateId: 'a', aggregateType: 'Note' }
     const events = [new GenericEvent({ ...stream, eventType: 'Noted', data: {} })]
     const { newVersion } = await stores.events.appendEvents({ ...stream, events, expectedVersion: 0 })
     await stores.close()
     console.log(newVersion, lines.join('; '))`,
  )
  const output = execFileSync(process.execPath, ['program.mjs'], { cwd: folder, encoding: 'utf8' })

  expect(output).toMatch(/^1 the worker thread is not part of this bundle, writes run on the main thread/)
})
