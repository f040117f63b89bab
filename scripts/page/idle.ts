import { gzipSync } from 'node:zlib'
import { MemoryBrokerEventBus } from '../../src/testing/index.ts'
import type { Figures } from './figures.ts'

/** The memory of a page that nobody looks at, and the bytes of its first view. */
export async function checkIdle(figures: Figures): Promise<void> {
  const bus = new MemoryBrokerEventBus()
  const before = heapUsedMB()
  const { createOperatorHandler } = await import('../../src/operator/index.ts')
  const handler = createOperatorHandler({
    buses: { orders: bus },
    authorize: () => ({ name: 'anna', roles: ['see'] }),
  })
  figures.atMost('P13 memory of an idle handler, MB', heapUsedMB() - before, 10)
  const get = async (path: string) => (await handler(new Request(`http://localhost${path}`))).text()
  const text = await get('/orders')
  const assets = [...text.matchAll(/(?:href|src)="(\/_\/[^"]+)"/g)].map(([, path = '']) => path)
  const bodies = await Promise.all(assets.map(get))
  const sizes = [text, ...bodies].map((body) => gzipSync(body).byteLength)
  figures.atMost(
    'P13 first page, gzip bytes',
    sizes.reduce((sum, size) => sum + size, 0),
    60_000,
  )
  const script = bodies[assets.findIndex((path) => path.endsWith('.js'))] ?? ''
  figures.atMost('P13 script, gzip bytes', gzipSync(script).byteLength, 15_000)
  await handler.close()
  await bus.shutdown()
}

function heapUsedMB(): number {
  if (globalThis.gc === undefined) throw new Error('Run it with node --expose-gc')
  globalThis.gc()
  return process.memoryUsage().heapUsed / 1024 / 1024
}
