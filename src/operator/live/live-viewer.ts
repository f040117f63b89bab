import { frameText, type LiveFrame } from './live-frame.ts'

/** Frames that wait for a viewer. What comes while they wait is dropped. */
const MAX_WAITING = 4
/** A comment is sent if nothing else was for this long, in milliseconds, so that a broken connection is noticed. */
const IDLE_MS = 10_000
/** The stream ends after this time, in milliseconds. The browser opens it again, and the roles are checked again. */
const MAX_MS = 5 * 60_000

/** One stream of frames to a browser. It never holds the reader up. */
export class LiveViewer {
  readonly stream: ReadableStream<Uint8Array>
  readonly #mayRead: boolean
  readonly #onGone: (viewer: LiveViewer) => void
  readonly #startedAt = performance.now()
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined
  #sentAt = performance.now()
  #seen = 0
  #dropped = 0

  /** @param onGone - called once, when the viewer has left or the stream has ended. */
  constructor(mayRead: boolean, onGone: (viewer: LiveViewer) => void) {
    this.#mayRead = mayRead
    this.#onGone = onGone
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        cancel: () => this.#leave(),
      },
      new CountQueuingStrategy({ highWaterMark: MAX_WAITING }),
    )
    this.#send('retry: 1000\n\n')
  }

  /** Called each quarter of a second. Without a frame, nothing was published. */
  show(frame: LiveFrame | undefined): void {
    if (performance.now() - this.#startedAt > MAX_MS) {
      this.end()
      return
    }
    this.#seen += frame?.fresh ?? 0
    if (this.#isFull()) {
      this.#dropped += frame?.fresh ?? 0
      return
    }
    const [mayRead, seen, dropped] = [this.#mayRead, this.#seen, this.#dropped]
    if (frame !== undefined) this.#send(frameText(frame, { mayRead, seen, dropped }))
    else if (performance.now() - this.#sentAt > IDLE_MS) this.#send(': nothing yet\n\n')
  }

  /** Reports that the broker cannot be read at the moment. */
  report(problem: string): void {
    if (!this.#isFull()) this.#send(`event: problem\ndata: ${JSON.stringify(problem)}\n\n`)
  }

  end(): void {
    const controller = this.#controller
    this.#leave()
    controller?.close()
  }

  #isFull(): boolean {
    return (this.#controller?.desiredSize ?? 0) <= 0
  }

  #send(text: string): void {
    this.#sentAt = performance.now()
    this.#controller?.enqueue(Buffer.from(text))
  }

  #leave(): void {
    if (this.#controller === undefined) return
    this.#controller = undefined
    this.#onGone(this)
  }
}
