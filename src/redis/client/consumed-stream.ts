/** The right to read and settle the entries of one partition. */
export interface StreamLease {
  /** What the server stores for the partition while this lease is valid. Each grant has another value. */
  readonly fence: string
  /**
   * `'taking'`: the entries that an earlier owner left are being taken over. `'ending'`: no further attempt starts.
   * `'lost'`: the partition belongs to another consumer, or to none.
   */
  state: 'taking' | 'held' | 'ending' | 'lost'
}

/** One of the streams that a consumer group reads. */
export interface ConsumedStream {
  readonly key: string
  /** True for the replay stream: no other group reads it, so its settled entries are deleted. */
  readonly deletesSettled: boolean
  readonly partition: number
  /** True if there is no other partition. */
  readonly isOnly: boolean
  /** Undefined if the group is not ordered, or if this consumer does not own the partition. */
  lease: StreamLease | undefined
}
