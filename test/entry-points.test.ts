import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const sources = new URL('../src/', import.meta.url).href
const run = promisify(execFile)

/** The modules that a program loads, in addition to those of Node.js: files of src/, and URLs of packages. */
async function loadedBy(program: string): Promise<readonly string[]> {
  const text = `
    import { registerHooks } from 'node:module'
    const loaded = []
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
    ${program}
    console.log(JSON.stringify(loaded))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', text])
  const urls = JSON.parse(stdout) as readonly string[]
  return urls.filter((url) => !url.startsWith('node:')).map((url) => url.replace(sources, ''))
}

it('eventspine/memory loads no code of a broker, a store or a subscription', async () => {
  const loaded = await loadedBy(`
    const { InMemoryEventBus } = await import('${sources}memory/index.ts')
    if (!new InMemoryEventBus().isConnected) throw new Error('not connected')`)
  const own = loaded.filter((url) => !url.startsWith('file:'))
  const folders = new Set(own.filter((file) => file.includes('/')).map((file) => file.split('/')[0]))

  expect([...folders].toSorted()).toEqual([
    'bus',
    'codec',
    'events',
    'handling',
    'kit',
    'memory',
    'observability',
  ])
  // Each file costs time when a program starts.
  expect(own.length).toBeLessThan(90)
})

it('eventspine loads no package but the API of OpenTelemetry, and no code that only a running consumer or an operator needs', async () => {
  const loaded = await loadedBy(`
    const { createEventBus } = await import('${sources}index.ts')
    if (!createEventBus('memory:').isConnected) throw new Error('not connected')`)
  const own = loaded.filter((url) => !url.startsWith('file:'))
  const packages = loaded.flatMap((url) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [])

  expect([...new Set(packages)]).toEqual(['@opentelemetry/api'])
  expect(own.filter((file) => /^(?:cli|operator|testing|sqlite|postgres|browsing)\//.test(file))).toEqual([])
  expect(own.filter((file) => /\/admin\/(?!lazy-|in-memory-|event-ring)/.test(file))).toEqual([])
  expect(own.filter((file) => /\/consuming\/(?:[\w-]+-)?consumption\.ts$/.test(file))).toEqual([])
  // Each module takes time when a program starts, although the package has them in few files.
  expect(own.length).toBeLessThan(390)
})
