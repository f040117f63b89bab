import { connect, type Socket } from 'node:net'
import type { Figures } from './figures.ts'
import { openSystem } from './system.ts'

const STREAM = 'GET /orders/live/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'

/** Many streams of live events: 50 are open, the others refused, and the page is answered meanwhile. */
export async function checkStreams(figures: Figures, count: number): Promise<void> {
  await using system = await openSystem(figures.kind)
  const { port, url } = system.server
  const before = process.memoryUsage.rss()
  const sockets: Socket[] = []
  const answers = { open: 0, refused: 0, others: 0 }
  const open = () =>
    new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(STREAM))
      sockets.push(socket)
      socket.on('error', () => resolve())
      socket.once('data', (chunk: Buffer) => {
        const status = chunk.subarray(9, 12).toString('latin1')
        answers[status === '200' ? 'open' : status === '503' ? 'refused' : 'others'] += 1
        socket.resume()
        resolve()
      })
    })
  for (let at = 0; at < count; at += 500)
    await Promise.all(Array.from({ length: Math.min(500, count - at) }, open))
  const startedAt = performance.now()
  const answer = await fetch(`${url}/orders`)
  await answer.text()
  figures.atMost(`S9 page while ${count} streams were opened, ms`, performance.now() - startedAt, 3000)
  figures.atLeast('S9 streams that are open', answers.open, 50)
  figures.atLeast('S9 streams that were refused', answers.refused, count - 50)
  figures.atMost('S9 memory, MB more', (process.memoryUsage.rss() - before) / 1024 / 1024, 150)
  for (const socket of sockets) socket.destroy()
}
