/** Streams of a read, and the number of entries that each of them is asked for. */
export interface ReadShare<Stream> {
  readonly count: number
  readonly streams: readonly Stream[]
}

/**
 * Splits the room for entries among streams. A stream that had more entries than were asked for is busy. The busy streams
 * take turns, each with almost all of the room: entries of one stream are acknowledged together, so few streams in a read
 * make few acknowledgments. The others are asked for one entry each.
 */
export class ReadShares<Stream> {
  /** The streams whose last read returned fewer entries than were asked for. */
  readonly #idle = new Set<Stream>()
  /** The number of the last turn of each busy stream. */
  readonly #turns = new Map<Stream, number>()
  #turn = 0

  /**
   * @param streams - the first ones are asked if there is not enough room for all.
   * @param room - the number of entries that fit, at least 1.
   */
  split(streams: readonly Stream[], room: number): readonly ReadShare<Stream>[] {
    const busy = this.#busyOf(streams)
    if (busy === undefined) {
      const some = streams.slice(0, room)
      return [{ count: Math.floor(room / some.length), streams: some }]
    }
    this.#turn += 1
    this.#turns.set(busy, this.#turn)
    const idle = streams.filter((stream) => this.#idle.has(stream)).slice(0, room - 1)
    const share = { count: room - idle.length, streams: [busy] }
    return idle.length === 0 ? [share] : [share, { count: 1, streams: idle }]
  }

  /** Notes how many entries a stream returned of those that it was asked for. */
  note(stream: Stream, returned: number, asked: number): void {
    if (returned < asked) this.#idle.add(stream)
    else this.#idle.delete(stream)
  }

  /** The busy stream whose last turn is the longest ago. */
  #busyOf(streams: readonly Stream[]): Stream | undefined {
    const turnOf = (stream: Stream) => this.#turns.get(stream) ?? 0
    const busy = streams.filter((stream) => !this.#idle.has(stream))
    return busy.reduce<Stream | undefined>(
      (first, stream) => (first !== undefined && turnOf(first) <= turnOf(stream) ? first : stream),
      undefined,
    )
  }
}
