import { it } from 'vitest'
import { waitFor } from '../../support/wait-for.ts'
import { connectClient, consume, createBus, freshPrefix, Noted, notes } from '../scene.ts'

it('recreates the group after its streams were deleted, and reports it', async () => {
  const streamPrefix = freshPrefix()
  const client = await connectClient()
  const bus = createBus({ streamPrefix })
  const seen: number[] = []
  const notices: string[] = []
  bus.subscribe(Noted, (event) => seen.push(event.n))
  bus.onNotice((notice) => notices.push(notice.type))
  await consume(bus)
  await bus.publish(notes('a', 2))
  await waitFor(() => seen.length === 2)

  await client.del([`${streamPrefix}:stream`, `${streamPrefix}:stream:replay:default`])
  await waitFor(() => notices.includes('topologyRestored'))
  await bus.publish(notes('a', 3, 2))

  await waitFor(() => seen.length === 3)
})
