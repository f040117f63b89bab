import { describeValue } from '../../errors.ts'

/** @throws TypeError if an array was passed, as `publish` of a bus takes one. */
export function refuseArrays(events: readonly unknown[]): void {
  if (events.some(Array.isArray)) {
    throw new TypeError('publish of a kit takes events, not an array of them: call publish(...events).')
  }
}

/** @throws TypeError if the services of a kit are not functions. */
export function assertServices(services: unknown): void {
  const named = typeof services === 'function' ? [services] : Object.values(Object(services))
  if (named.length > 0 && named.every((register) => typeof register === 'function')) return
  throw new TypeError(
    'TestBus.start takes a function that subscribes handlers to the bus of the kit, or such functions by the names of ' +
      `their services, got ${describeValue(services)}. TestBus.on observes a bus that exists.`,
  )
}
