import { sleep } from '../../kit/time.ts'

/** How to send heartbeats. */
export interface Heartbeats {
  /** The present interval; read before each heartbeat. */
  readonly intervalMs: () => number
  /** Sends one heartbeat. False stops them. It must not reject. */
  readonly beat: () => Promise<boolean>
}

/** Sends heartbeats until the signal aborts or one of them returns false. The first is sent after one interval. */
export async function beatUntil(signal: AbortSignal, { intervalMs, beat }: Heartbeats): Promise<void> {
  while (await sleep(intervalMs(), signal)) if (!(await beat())) return
}

/** Sends heartbeats while some work runs, such as handlers that must finish. @throws what the work rejects with. */
export async function withHeartbeats(work: Promise<void>, heartbeats: Heartbeats): Promise<void> {
  const done = new AbortController()
  const beating = beatUntil(done.signal, heartbeats)
  try {
    await work
  } finally {
    done.abort()
    await beating
  }
}
