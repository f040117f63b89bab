/** A promise that can be started over. */
export function newGate() {
  let gate = Promise.withResolvers<void>()
  let isSettled = false
  gate.promise.catch(() => undefined)
  return {
    get promise() {
      return gate.promise
    },
    resolve() {
      isSettled = true
      gate.resolve()
    },
    reject(error: Error) {
      isSettled = true
      gate.reject(error)
    },
    renew() {
      if (!isSettled) return
      isSettled = false
      gate = Promise.withResolvers<void>()
      gate.promise.catch(() => undefined)
    },
  }
}
