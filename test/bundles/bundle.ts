import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { onTestFinished } from 'vitest'

const run = promisify(execFile)

export interface BundleOptions {
  /** The program, which imports from `'eventspine'`. */
  readonly program: string
  readonly format: 'esm' | 'cjs'
  /** Packages that are installed where the bundle is built, in addition to those that eventspine needs. */
  readonly installed: readonly string[]
  readonly args?: readonly string[]
  /** Renames functions and classes, as most builds for production do. */
  readonly minify?: boolean
  /** Files that are copied to a path relative to the bundle. */
  readonly copied?: Readonly<Record<string, string>>
}

// Packages in CommonJS call `require`, which an ES module does not have.
const REQUIRE =
  "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);"

const EXPORTS = {
  '.': './dist/index.js',
  './sqlite': './dist/sqlite/index.js',
  './postgres': './dist/postgres/index.js',
}

/** Bundlers read neither types nor source maps, three quarters of the files. */
const isCode = (path: string) => !/\.(d\.ts|map)$/.test(path)

/** Builds a program with eventspine into one file, and runs the file where no package is installed. */
export async function runBundle({
  program,
  format,
  installed,
  args = [],
  minify = false,
  copied = {},
}: BundleOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'eventspine-bundle-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const modules = join(folder, 'build', 'node_modules')
  await mkdir(join(modules, '@opentelemetry'), { recursive: true })
  await mkdir(join(modules, '@platformatic'))
  // As it is published: `npm run build` has made it.
  await cp('dist', join(modules, 'eventspine', 'dist'), { recursive: true, filter: isCode })
  const manifest = { name: 'eventspine', type: 'module', sideEffects: false, exports: EXPORTS }
  await writeFile(join(modules, 'eventspine', 'package.json'), JSON.stringify(manifest))
  for (const name of ['@opentelemetry/api', ...installed]) {
    await symlink(resolve('node_modules', name), join(modules, name))
  }
  const entry = join(folder, 'build', 'program.ts')
  await writeFile(entry, program)
  const outfile = join(folder, 'out', format === 'esm' ? 'bundle.mjs' : 'bundle.cjs')
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format,
    minify,
    logLevel: 'silent',
    ...(format === 'esm' && installed.length > 0 ? { banner: { js: REQUIRE } } : {}),
  })
  for (const [path, from] of Object.entries(copied)) await cp(from, resolve(dirname(outfile), path))
  const { stdout } = await run(process.execPath, [outfile, ...args], { cwd: folder })
  return stdout
}
