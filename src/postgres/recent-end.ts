/** Time for which a known end may be reused for pages far before it, in milliseconds. A failover takes longer. */
const END_AGE_MS = 250

/** The end of a feed that was read last. Pages far before it do not need to read it again. */
export class RecentEnd<End extends { readonly head: number }> {
  #end: End | undefined
  #readAt = 0

  note(end: End): void {
    this.#end = end
    this.#readAt = performance.now()
  }

  /** The end, if it was read a moment ago and is far after the page; undefined if it has to be read. */
  after(fromPosition: number, limit: number): End | undefined {
    const isFar = this.#end !== undefined && this.#end.head - fromPosition > 2 * limit
    return isFar && performance.now() - this.#readAt < END_AGE_MS ? this.#end : undefined
  }
}
