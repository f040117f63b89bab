/** A request that is answered with an error page. */
export class HttpError extends Error {
  readonly status: number
  /** Headers of the answer, such as `allow`. */
  readonly headers: Readonly<Record<string, string>>

  /**
   * @param message - for the person at the page; it is shown.
   * @param cause - logged, and not shown.
   */
  constructor(
    status: number,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    cause: unknown = undefined,
  ) {
    super(message, { cause })
    this.status = status
    this.headers = headers
  }
}

/** A broker that has not answered in time. The page shows it, and tries again. */
export class BusAwayError extends Error {
  readonly bus: string

  constructor(bus: string, cause: unknown, message: string) {
    super(message, { cause })
    this.bus = bus
  }
}
