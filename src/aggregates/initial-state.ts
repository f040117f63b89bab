import { types } from 'node:util'

/**
 * The state before the first event, which all aggregates share, or a function that creates a state for each aggregate.
 */
export type InitialState<State> = State | (() => State)

/** States that are deeply frozen and contain nothing that freezing does not protect. */
const frozen = new WeakSet<object>()

/** Maps, sets, dates and buffers, which freezing does not protect, in the initial state of an aggregate. */
const taken = new WeakSet<object>()

/**
 * The initial state of one aggregate. Plain data is frozen deeply, so that no aggregate changes the state of the others.
 * Instances of classes are left as they are.
 *
 * @throws TypeError if another aggregate already has a map, set, date or buffer of this state.
 */
export function firstState<State>(initial: InitialState<State>): State {
  // A state cannot be a function, because a function creates the state.
  if (typeof initial === 'function') return (initial as () => State)()
  freeze(initial, 'initialState')
  return initial
}

/** @returns false if the value contains something that freezing does not protect. */
function freeze(value: unknown, path: string): boolean {
  if (typeof value !== 'object' || value === null || frozen.has(value)) return true
  if (isMutableBuiltIn(value)) {
    if (taken.has(value)) throw shared(path)
    taken.add(value)
    return false
  }
  if (!Array.isArray(value) && !isPlain(value)) return false
  Object.freeze(value)
  frozen.add(value) // before its fields, which may refer back to it
  const isProtected = Object.entries(value)
    .map(([key, field]) => freeze(field, `${path}.${key}`))
    .every((isFieldProtected) => isFieldProtected)
  if (!isProtected) frozen.delete(value)
  return isProtected
}

function isMutableBuiltIn(value: object): boolean {
  return types.isMap(value) || types.isSet(value) || types.isDate(value) || ArrayBuffer.isView(value)
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function shared(path: string): TypeError {
  return new TypeError(
    `Several aggregates share ${path}, so a change in one would affect all. Let initialState be a function that ` +
      'creates it: initialState: () => ({ ... }).',
  )
}
