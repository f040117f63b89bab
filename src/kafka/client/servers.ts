import { toError } from '../../errors.ts'
import type { ServerAddress } from '../../transport/transport.ts'

/** Orders servers of which any will do: those that failed come last, the latest failure at the end. */
export class ServerOrder {
  readonly #failures = new Map<string, number>()
  #count = 0

  /** Each server once, in the order in which to try them. */
  of(servers: readonly ServerAddress[]): readonly ServerAddress[] {
    const distinct = new Map(servers.map((server) => [addressText(server), server]))
    const rank = ([address]: readonly [string, ServerAddress]) => this.#failures.get(address) ?? 0
    return [...distinct].sort((a, b) => rank(a) - rank(b)).map(([, server]) => server)
  }

  onFailed(server: ServerAddress): void {
    this.#count += 1
    this.#failures.set(addressText(server), this.#count)
  }

  onAnswered(server: ServerAddress): void {
    this.#failures.delete(addressText(server))
  }
}

/** Host and port, as users write them. */
export function addressText({ host, port }: ServerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** None of several servers answered. */
export class NoAnswerError extends Error {
  /** In the order of the servers that were tried. */
  readonly failures: readonly { readonly server: ServerAddress; readonly error: Error }[]

  constructor(failures: NoAnswerError['failures']) {
    super(failures.map(({ error }) => error.message).join(' '))
    this.failures = failures
  }
}

export interface FirstAnswerOptions<T> {
  readonly ask: (server: ServerAddress) => Promise<T>
  /** How long to wait for one server before the next one is asked too, in milliseconds. */
  readonly headStartMs: number
  /** Called with an answer that came after the first one. */
  readonly onLate: (answer: T) => void
}

/**
 * The first answer of several servers. The next server is asked when one fails, and also when one is silent.
 * @throws NoAnswerError if all of them fail.
 */
export function firstAnswer<T>(
  servers: readonly ServerAddress[],
  { ask, headStartMs, onLate }: FirstAnswerOptions<T>,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const failures: { server: ServerAddress; error: Error }[] = []
  const waiting = [...servers]
  let running = 0
  let isAnswered = false
  let timer: NodeJS.Timeout | undefined
  const askNext = () => {
    clearTimeout(timer)
    const server = waiting.shift()
    if (server === undefined) {
      if (running === 0) reject(new NoAnswerError(failures))
      return
    }
    running += 1
    timer = setTimeout(askNext, headStartMs)
    ask(server).then(
      (answer) => {
        if (isAnswered) return onLate(answer)
        isAnswered = true
        clearTimeout(timer)
        resolve(answer)
      },
      (thrown: unknown) => {
        running -= 1
        failures.push({ server, error: toError(thrown) })
        if (!isAnswered) askNext()
      },
    )
  }
  askNext()
  return promise
}
