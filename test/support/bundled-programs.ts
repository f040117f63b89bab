import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, type Plugin, stop } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cache = join(root, 'node_modules', '.cache')

/** Programs that many tests start as processes, and the modules that these load by their URLs. */
const PROGRAMS = [
  'src/cli/verify/process.ts',
  'src/testing/conformance/probe-program.ts',
  'test/kafka/conformance-bus.ts',
  'test/kafka/worker.ts',
  'test/postgres/feed-check/writer.ts',
  'test/postgres/writer.ts',
  'test/rabbitmq/conformance-bus.ts',
  'test/rabbitmq/worker.ts',
  'test/redis/conformance-bus.ts',
  'test/redis/forgetful-bus.ts',
  'test/redis/inbox-program.ts',
  'test/redis/partition-worker.ts',
  'test/redis/worker.ts',
  'test/sqlite/writer-program.ts',
  'test/subscriptions/crash-program.ts',
  'test/subscriptions/shutdown-program.ts',
  'test/support/subscriber-program.ts',
  'test/testing/in-memory-bus.ts',
  'test/testing/memory-broker-bus.ts',
  'test/torture/effects/program.ts',
  'test/torture/stores/worker.ts',
  'test/torture/worker.ts',
]

/** A source in a bundle still finds its files, such as the program of a worker thread. */
const ownUrls: Plugin = {
  name: 'own URLs',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/(src|test)\/.*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const url = JSON.stringify(pathToFileURL(path).href)
      return { contents: source.replaceAll('import.meta.url', url), loader: 'ts' }
    }),
}

/**
 * Bundles the programs, and makes the processes that this one starts run the bundles. A process that loads some hundred
 * sources needs several times the CPU time to start.
 */
export async function bundlePrograms(): Promise<void> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: PROGRAMS,
    outbase: root,
    outdir: join(cache, 'programs'),
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    target: 'node22',
    format: 'esm',
    keepNames: true,
    plugins: [ownUrls],
    write: false,
    logLevel: 'error',
  })
  // Its process would otherwise run until the tests end.
  await stop()
  const hash = createHash('sha256')
  for (const { path, contents } of outputFiles) hash.update(path).update(contents)
  const folder = join(cache, `programs-${hash.digest('hex').slice(0, 16)}`)
  if (!existsSync(folder)) await store(folder, outputFiles)
  const preload = new URL('./use-bundled-programs.ts', import.meta.url)
  process.env['EVENTSPINE_TEST_PROGRAMS'] = folder
  process.env['NODE_OPTIONS'] = `${process.env['NODE_OPTIONS'] ?? ''} --import ${preload.href}`.trim()
}

/** Another run may store the same folder at the same time. */
async function store(
  folder: string,
  files: readonly { readonly path: string; readonly contents: Uint8Array }[],
): Promise<void> {
  const unfinished = `${folder}-${process.pid}`
  for (const { path, contents } of files) {
    const file = join(unfinished, relative(join(cache, 'programs'), path))
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, contents)
  }
  try {
    await rename(unfinished, folder)
  } catch (error) {
    await rm(unfinished, { recursive: true })
    if (!existsSync(folder)) throw error
  }
}
