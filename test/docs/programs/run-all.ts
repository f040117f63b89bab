// node run-all.ts first.ts second.cjs: runs each program in a worker of its own, and prints what they printed, as JSON. One
// process for all of them starts in a fraction of the time of one process each.
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'

export interface ProgramOutcome {
  readonly stdout: string
  readonly stderr: string
  /** Why the program ended; undefined if it ended by itself. */
  readonly error: string | undefined
}

const LIMIT_MS = Number(process.env['PROGRAM_LIMIT_MS'] ?? 30_000)

async function run(file: string): Promise<ProgramOutcome> {
  const worker = new Worker(pathToFileURL(file), { stdout: true, stderr: true })
  const printed = Promise.all([text(worker.stdout), text(worker.stderr)])
  let error: string | undefined
  const limit = setTimeout(() => {
    error = `the program does not end within ${LIMIT_MS} ms: something is open`
    void worker.terminate()
  }, LIMIT_MS)
  worker.on('error', (thrown) => {
    error ??= thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  })
  await new Promise((resolve) => worker.once('exit', resolve))
  clearTimeout(limit)
  const [stdout, stderr] = await printed
  return { stdout, stderr, error }
}

const files = process.argv.slice(2)
const outcomes: [file: string, outcome: ProgramOutcome][] = []
const next = files.values()
// Two at a time: most programs also wait.
await Promise.all(
  [1, 2].map(async () => {
    for (const file of next) outcomes.push([file, await run(file)])
  }),
)
process.stdout.write(JSON.stringify(Object.fromEntries(outcomes)))
