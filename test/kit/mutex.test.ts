import { expect, it } from 'vitest'
import { Mutex } from '../../src/kit/mutex.ts'

it('runs one piece of work at a time, in the order of the calls', async () => {
  const mutex = new Mutex()
  const log: string[] = []
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const runs = gates.map(({ promise }, n) =>
    mutex.runExclusive(async () => {
      log.push(`start ${n}`)
      await promise
      log.push(`end ${n}`)
      return n
    }),
  )

  gates[1]?.resolve()
  await Promise.resolve()
  gates[0]?.resolve()

  expect(await Promise.all(runs)).toEqual([0, 1])
  expect(log).toEqual(['start 0', 'end 0', 'start 1', 'end 1'])
})

it('rejects the call whose work fails, and runs the work after it', async () => {
  const mutex = new Mutex()
  const failing = mutex.runExclusive(() => Promise.reject(new Error('refused')))
  const next = mutex.runExclusive(() => Promise.resolve('done'))

  await expect(failing).rejects.toThrow('refused')
  expect(await next).toBe('done')
})
