/** How long a page waits for a store, in milliseconds. */
const ANSWER_MS = 3000

const LATE = Symbol('late')

/** Waits for a store, but not long. @throws Error that says so. Errors of the answer itself are passed on. */
export async function answered<T>(answer: Promise<T>): Promise<T> {
  const first = await within(answer, ANSWER_MS)
  if (first.isLate) throw new Error(`The store has not answered for ${ANSWER_MS / 1000} seconds.`)
  return first.value
}

/** The value of a promise, unless it takes too long; the promise then continues. @throws what the promise throws. */
export async function within<T>(
  promise: Promise<T>,
  ms: number,
): Promise<{ readonly isLate: false; readonly value: T } | { readonly isLate: true }> {
  const late = Promise.withResolvers<typeof LATE>()
  const timer = setTimeout(() => late.resolve(LATE), ms)
  try {
    const first = await Promise.race([promise, late.promise])
    return first === LATE ? { isLate: true } : { isLate: false, value: first }
  } finally {
    clearTimeout(timer)
    promise.catch(() => undefined) // it may fail later
  }
}
