/** Limits how often the members of a consumer group start something, all together. */
export interface RateStore {
  /**
   * Takes a turn if one is free: turns of one name are at least `1 / ratePerSecond` apart. A turn that is up to 20 ms late
   * does not delay those after it.
   * @returns 0 if the turn was taken; otherwise the time until the next one, in milliseconds.
   * @throws ConnectionError
   */
  take(name: string, ratePerSecond: number): Promise<number>
}
