import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const run = promisify(execFile)
const source = (path: string) => new URL(`../../../src/${path}`, import.meta.url).href

/** What every bus loads. */
const LOADED = ['bus/admin/event-ring.ts', 'bus/admin/in-memory-admin.ts', 'bus/admin/lazy-bus-admin.ts']

/** The modules of the operator that a program loads. */
async function loaded(then: string): Promise<readonly string[]> {
  const program = `
    import { registerHooks } from 'node:module'
    const urls = []
    registerHooks({ load: (url, context, next) => { urls.push(url); return next(url, context) } })
    const { MemoryBrokerEventBus } = await import(${JSON.stringify(source('testing/memory-broker-event-bus.ts'))})
    await import(${JSON.stringify(source('index.ts'))})
    const bus = new MemoryBrokerEventBus()
    bus.startConsumingInBackground()
    await bus.whenConsuming()
    ${then}
    await bus.shutdown()
    console.log(JSON.stringify(urls.filter((url) => /admin|browsing|memory-scan/.test(url))))`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program])
  const urls: unknown = JSON.parse(stdout)
  return Array.isArray(urls) ? urls.map((url) => String(url).replace(source(''), '')).toSorted() : []
}

it('loads the code of the operator with the first call, and nothing of it before', async () => {
  expect(await loaded('')).toEqual(LOADED)
  expect(await loaded('await bus.admin.groups()')).toEqual([
    'browsing/browse.ts',
    'browsing/event-filter.ts',
    'browsing/index.ts',
    'browsing/tail.ts',
    'bus/admin/await-halt.ts',
    'bus/admin/browsed-message.ts',
    LOADED[0],
    'bus/admin/explain.ts',
    'bus/admin/group-metrics.ts',
    ...LOADED.slice(1),
    'bus/admin/operator.ts',
    'bus/admin/topology.ts',
    'testing/memory-admin.ts',
    'testing/memory-scan.ts',
  ])
})
