import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { addressText, firstAnswer, NoAnswerError, ServerOrder } from '../../../src/kafka/client/servers.ts'

const server = (host: string, port = 9092) => ({ host, port })
const [A, B, C] = [server('a'), server('b'), server('c')]

describe('the order of servers', () => {
  it('has each server once, and those that failed last', () => {
    const order = new ServerOrder()
    expect(order.of([A, B, { ...A }, C])).toEqual([A, B, C])

    order.onFailed(A)
    expect(order.of([A, B, C])).toEqual([B, C, A])
    order.onFailed(B)
    expect(order.of([A, B, C])).toEqual([C, A, B])
    order.onAnswered(B)
    expect(order.of([A, B, C])).toEqual([B, C, A])
  })

  it('writes addresses as users do', () => {
    expect([addressText(A), addressText(server('::1', 1))]).toEqual(['a:9092', '[::1]:1'])
  })
})

describe('the first answer', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const ask = (answers: Readonly<Record<string, Promise<string>>>) => {
    const asked: string[] = []
    const late: string[] = []
    const answer = firstAnswer([A, B, C], {
      ask: ({ host }) => {
        asked.push(host)
        return answers[host] ?? new Promise<string>(() => undefined)
      },
      headStartMs: 1000,
      onLate: (text) => late.push(text),
    })
    return { asked, late, answer }
  }

  it('tries the next server at once when one fails', async () => {
    const { asked, answer } = ask({ a: Promise.reject(new Error('refused')), b: Promise.resolve('from b') })

    expect(await answer).toBe('from b')
    expect(asked).toEqual(['a', 'b'])
  })

  it('also tries the next server when one is silent, and returns late connections', async () => {
    const late = Promise.withResolvers<string>()
    const { asked, answer, late: lates } = ask({ a: late.promise, c: Promise.resolve('from c') })

    await vi.advanceTimersByTimeAsync(999)
    expect(asked).toEqual(['a'])
    await vi.advanceTimersByTimeAsync(1001)

    expect(await answer).toBe('from c')
    late.resolve('from a')
    await vi.advanceTimersByTimeAsync(0)
    expect(lates).toEqual(['from a'])
  })

  it('fails when all servers failed, with the failure of each', async () => {
    const refuse = (text: string) => Promise.reject(new Error(text))
    const { answer } = ask({ a: refuse('no a'), b: refuse('no b'), c: refuse('no c') })

    const error = await answer.catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(NoAnswerError)
    expect(String(error)).toBe('Error: no a no b no c')
    expect(error).toMatchObject({ failures: [{ server: A }, { server: B }, { server: C }] })
  })
})
