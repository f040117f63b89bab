import { expect, it, onTestFinished, vi } from 'vitest'
import type { AmqpChannel } from '../../../src/rabbitmq/client/client.ts'
import type { WithChannel } from '../../../src/rabbitmq/client/connection.ts'
import { unlessDown } from '../../../src/rabbitmq/client/unless-down.ts'

const withChannel: WithChannel = (work) => work({} as AmqpChannel)

function fakeTime(): void {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
}

it('takes a node for down whose queue does not answer while the broker does', async () => {
  fakeTime()
  const answer = unlessDown(withChannel, () => new Promise<string>(() => undefined))
  await vi.advanceTimersByTimeAsync(10_000)

  expect(await answer).toBeUndefined()
})

it('waits for a broker that answers nothing', async () => {
  fakeTime()
  const awake = Promise.withResolvers<void>()
  const frozen: WithChannel = async (work) => {
    await awake.promise
    return work({} as AmqpChannel)
  }
  const answer = unlessDown(frozen, async () => 'there')
  await vi.advanceTimersByTimeAsync(60_000)
  awake.resolve()

  expect(await answer).toBe('there')
})

it('passes on a refusal, and has no answer for a queue that is not found', async () => {
  const refused = Object.assign(new Error('refused'), { code: 403 })

  await expect(unlessDown(withChannel, () => Promise.reject(refused))).rejects.toBe(refused)
  const missing = Object.assign(new Error('not found'), { code: 404 })
  expect(await unlessDown(withChannel, () => Promise.reject(missing))).toBeUndefined()
})
