/** One of the streams a group reads. */
export interface StreamRole {
  readonly key: string
  /** Entries of the replay stream are deleted once they are settled: nobody else reads them. */
  readonly deletesSettled: boolean
}
