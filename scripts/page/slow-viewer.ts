import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OperatorHandler, operatorListener } from '../../src/operator/index.ts'
import { MAX_FRAME_BYTES } from '../../src/operator/live/live-frame.ts'

/** Frames that wait for a viewer. */
const QUEUE = 4

interface Frame {
  readonly seen: number
  readonly dropped: number
}

/**
 * A viewer of live events that does not read. It connects through a socket of the file system, whose buffers hold 0.2 MB, or a few
 * seconds of frames. Those of TCP on one machine hold several megabytes, so that nothing would ever wait at the server.
 */
export async function openSlowViewer(handler: OperatorHandler, path: string) {
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-page-'))
  const file = join(folder, 'page.sock')
  let response: ServerResponse | undefined
  const server = createServer(operatorListener(handler)).on('request', (_request, answer) => {
    response = answer
  })
  server.listen(file)
  await once(server, 'listening')
  const socket = connect(file).pause()
  socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`)
  let written = 0
  const sampling = setInterval(() => {
    written = Math.max(written, response?.writableLength ?? 0)
  }, 50)
  return {
    /** Most bytes that waited for it: what was written to its socket, and the frames of a full queue. */
    heldBytes: () => written + QUEUE * MAX_FRAME_BYTES,
    /** Lets it read until it was told what it has missed. */
    catchUp: () => untilTold(socket),
    [Symbol.asyncDispose]: async () => {
      clearInterval(sampling)
      socket.destroy()
      server.closeAllConnections()
      server.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** @returns the numbers of the last frame, and the events that it has counted in all frames that it got. */
async function untilTold(socket: ReturnType<typeof connect>) {
  const ended = AbortSignal.timeout(10_000)
  let rest = ''
  let last: Frame = { seen: 0, dropped: 0 }
  for await (const chunk of socket.setEncoding('utf8')) {
    rest += String(chunk)
    const parts = rest.split('\n\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      // What stands around an event is the size of a chunk of HTTP.
      const [, seen, dropped] = /^data: \{"seen":(\d+),"fresh":\d+,"dropped":(\d+)/m.exec(part) ?? []
      if (seen !== undefined && dropped !== undefined) last = { seen: Number(seen), dropped: Number(dropped) }
    }
    if (last.dropped > 0 || ended.aborted) break
  }
  return last
}
