/** The role and options of a process. */
export interface Part {
  readonly role: 'producer' | 'consumer'
  readonly group: string
  /** True if the group has one consumer at a time. */
  readonly isAlone: boolean
  readonly handlers: readonly string[]
  /** At most one consumer of the group has this name at a time. On Redis, a successor starts with the pending messages of its predecessor. */
  readonly consumerName: string
}

/** The options that the run passes to a process. */
export interface WorkerOptions {
  readonly name: string
  readonly folder: string
  readonly seed: number
  readonly part: Part
  readonly aggregates: number
  /** True if some events of a producer cannot be decoded. */
  readonly hasPoison: boolean
}

/** How a handler misbehaves. `die` also makes a producer end during a publish. */
export type Trouble =
  | { readonly kind: 'die' | 'exit' | 'hang' }
  | { readonly kind: 'block'; readonly ms: number }

/** A change of the connections of this process. */
export interface LineChange {
  readonly kind: 'line'
  readonly change: 'cut' | 'freeze' | 'thaw' | 'degrade'
  readonly latencyMs?: number | undefined
}

/** What the run sends to a process. The options come first. */
export type Message =
  | { readonly kind: 'options'; readonly options: WorkerOptions }
  | { readonly kind: 'stop' }
  | LineChange
  | Trouble
