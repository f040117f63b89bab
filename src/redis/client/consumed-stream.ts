/** One of the streams that a consumer group reads. */
export interface ConsumedStream {
  readonly key: string
  /** True for the replay stream: no other group reads it, so its settled entries are deleted. */
  readonly deletesSettled: boolean
}
