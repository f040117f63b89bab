import { describe, expect, it } from 'vitest'
import { ForeignCheckpointError, InMemoryEventStore, SubscriptionNotFoundError } from '../../src/index.ts'
import { append, checkpointAt, quick, Seen, SubscriptionScene } from './subscription-scene.ts'

describe('a manager without the subscription', () => {
  it('waits for the checkpoint that another one saves', async () => {
    const scene = new SubscriptionScene()
    const manager = scene.manager()
    manager.subscribe(new Seen(), { ...quick, checkpointEveryEvents: 1 })
    manager.start()
    await append(scene.store, 0, 3)
    await manager.whenCaughtUp('seen')
    const elsewhere = scene.manager()
    await elsewhere.whenCaughtUp('seen')
    const later = elsewhere.whenProcessed(5, 'seen').then(() => scene.checkpoints.load('seen'))
    await append(scene.store, 3, 5)

    expect((await later)?.position).toBeGreaterThanOrEqual(5)
  })

  it('waits until a signal aborts', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 1)
    await scene.checkpoints.save(
      'seen',
      { ...checkpointAt(1), storeId: await scene.store.identity() },
      undefined,
    )
    const waiting = scene.manager().whenProcessed(2, 'seen', { signal: AbortSignal.timeout(50) })

    await expect(waiting).rejects.toThrow(/timeout/)
  })

  it('refuses a name without a checkpoint, and a checkpoint of another store', async () => {
    const scene = new SubscriptionScene()
    await append(scene.store, 0, 1)
    const manager = scene.manager()
    await expect(manager.whenProcessed(1, 'nobody')).rejects.toThrow(SubscriptionNotFoundError)

    const storeId = await new InMemoryEventStore().identity()
    await scene.checkpoints.save('seen', { ...checkpointAt(9), storeId }, undefined)
    await expect(manager.whenProcessed(1, 'seen')).rejects.toThrow(ForeignCheckpointError)
  })
})

it('ends the wait for a subscription of its own by a signal, too', async () => {
  const scene = new SubscriptionScene()
  const manager = scene.manager()
  manager.subscribe(new Seen(), quick)
  manager.start()
  const waiting = manager.whenProcessed(1, 'seen', { signal: AbortSignal.timeout(50) })

  await expect(waiting).rejects.toThrow(/timeout/)
})
