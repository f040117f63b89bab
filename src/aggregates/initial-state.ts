import { types } from 'node:util'
import { isPlainObject } from '../events/immutable.ts'

/**
 * The state before the first event, which all aggregates share, or a function that creates a state for each aggregate.
 */
export type InitialState<State> = State | (() => State)

/** States that are deeply frozen and contain nothing that freezing does not protect. */
const frozen = new WeakSet<object>()

/** Parts of the initial state of an aggregate that it can change: maps, sets, dates, buffers, instances of classes. */
const taken = new WeakSet<object>()

/**
 * The initial state of one aggregate. Plain data is frozen deeply, so that no aggregate changes the state of the others.
 *
 * @throws TypeError if another aggregate already has a map, set, date, buffer or instance of a class of this state. An
 * instance that is frozen may be shared. Also if a function returns the same state again.
 */
export function firstState<State>(initial: InitialState<State>): State {
  // A state cannot be a function, because a function creates the state.
  if (typeof initial === 'function') return createdState(initial as () => State)
  freeze(initial, 'initialState')
  return initial
}

/** A function that returns one object again and again does not create it. */
function createdState<State>(create: () => State): State {
  const state = create()
  if (typeof state !== 'object' || state === null || Object.isFrozen(state)) return state
  if (taken.has(state)) throw shared('the state that the function initialState returns')
  taken.add(state)
  return state
}

/** @returns false if the value contains something that freezing does not protect. */
function freeze(value: unknown, path: string): boolean {
  if (typeof value !== 'object' || value === null || frozen.has(value)) return true
  if (isMutable(value)) {
    if (taken.has(value)) throw shared(path)
    taken.add(value)
    return false
  }
  Object.freeze(value)
  frozen.add(value) // before its fields, which may refer back to it
  const isProtected = Object.entries(value)
    .map(([key, field]) => freeze(field, `${path}.${key}`))
    .every((isFieldProtected) => isFieldProtected)
  if (!isProtected) frozen.delete(value)
  return isProtected
}

/** True unless the value is plain data, or an instance that its class has frozen. */
function isMutable(value: object): boolean {
  if (Array.isArray(value) || isPlainObject(value)) return false
  const isUnprotected =
    types.isMap(value) || types.isSet(value) || types.isDate(value) || ArrayBuffer.isView(value)
  return isUnprotected || !Object.isFrozen(value)
}

function shared(path: string): TypeError {
  return new TypeError(
    `Several aggregates share ${path}, so a change in one would affect all. Let initialState be a function that ` +
      'creates it: initialState: () => ({ ... }).',
  )
}
