// Builds the package into dist: code without comments, in few files, and the declarations, with their comments, that the
// entry points reach.
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { rolldown } from 'rolldown'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')
/** The code of each source file, before it is joined. */
const code = join(root, '.cache', 'code')
/** Programs that run in a thread or process of their own. */
const PROGRAMS = ['cli/main', 'cli/verify/process', 'sqlite/thread', 'testing/conformance/probe-program']
/** The module that checks the version of Node.js. */
const VERSION_CHECK = 'node-version.js'
/** A relative import in code or in a declaration; group 1 is its path without the extension. */
const IMPORTED = /(?:\bfrom|\bimport)[\s(]*["'](\.[^"']+)\.[jt]s["']/g
/** An import or a new export of a module, as tsc writes it; group 1 is its path. Not a dynamic import. */
const LOADED = /^(?:import|export)\b[^'";]*?(?:\bfrom\s*)?["'](\.[^"']+)["']/gm

for (const folder of [dist, code]) rmSync(folder, { recursive: true, force: true })
tsc('--emitDeclarationOnly')
// The first run has checked the types.
tsc('--noCheck', '--declaration', 'false', '--removeComments', '--outDir', code)
const exported = entryPoints()
const reached = reachedDeclarations()
for (const file of globSync('**/*.d.ts', { cwd: dist })) {
  if (!reached.has(join(dist, file))) rmSync(join(dist, file))
}
await joinModules()
// Tabs and long lines take less room than the layout of tsc.
run('biome', 'format', '--write', '--config-path=scripts/package-format.json', '--reporter=summary', 'dist')

function tsc(...options: readonly string[]): void {
  run('tsc', '-p', 'tsconfig.build.json', ...options)
}

function run(program: string, ...args: readonly string[]): void {
  const bin = join(root, 'node_modules', '.bin', program)
  const { status, error } = spawnSync(bin, args, { cwd: root, stdio: ['inherit', 2, 2] })
  if (error !== undefined) throw error
  if (status !== 0) process.exit(status ?? 1)
}

/** The entry points of the package: paths below dist, without an extension. */
function entryPoints(): readonly string[] {
  // This project's own file.
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly exports: Readonly<Record<string, string | { readonly types: string }>>
  }
  return Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? [] : entry.types.slice('./dist/'.length, -'.d.ts'.length),
  )
}

/** The declarations of the entry points, and those that they import, directly or not. */
function reachedDeclarations(): ReadonlySet<string> {
  const reached = new Set(exported.map((path) => join(dist, `${path}.d.ts`)))
  // A set iterates over what is added meanwhile, too.
  for (const file of reached) {
    for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(IMPORTED)) {
      reached.add(`${join(dirname(file), path)}.d.ts`)
    }
  }
  return reached
}

/**
 * Joins the modules into few files, because Node.js takes time for each file: those of `eventspine/memory`, those that
 * `eventspine` loads in addition, and a file for each other set of modules that are loaded together. Unused code is left out.
 */
async function joinModules(): Promise<void> {
  const [memory, main] = [loadedBy('memory/index'), loadedBy('index')]
  // The command line and the thread load little, so they do not get the large files.
  const little = new Set(['cli/main', 'sqlite/thread'].flatMap((path) => [...loadedBy(path)]))
  const bundle = await rolldown({
    input: Object.fromEntries([...exported, ...PROGRAMS].map((path) => [path, join(code, `${path}.js`)])),
    cwd: code,
    platform: 'node',
    external: /^[^./]/,
    preserveEntrySignatures: 'strict',
    treeshake: { moduleSideEffects: (id) => id === join(code, VERSION_CHECK) },
  })
  await bundle.write({
    dir: dist,
    entryFileNames: '[name].js',
    // package.json and src/kit/optional-package.ts contain these names.
    chunkFileNames: ({ name }) =>
      name === VERSION_CHECK ? `parts/eventspine-${name}` : 'parts/eventspine-[name]-[hash].js',
    // The check runs before all other code.
    banner: ({ name }) =>
      [...exported, 'cli/main'].includes(name)
        ? `import '${name.includes('/') ? '..' : '.'}/parts/eventspine-${VERSION_CHECK}'`
        : '',
    codeSplitting: {
      groups: [
        { name: VERSION_CHECK, test: (id) => id === join(code, VERSION_CHECK), priority: 4 },
        { name: 'base', test: (id) => little.has(id) && main.has(id), priority: 3 },
        { name: 'memory', test: (id) => memory.has(id), priority: 2 },
        { name: 'main', test: (id) => main.has(id), priority: 1 },
      ],
    },
  })
  await bundle.close()
}

/** The modules that a module loads at once, directly or not. */
function loadedBy(path: string): ReadonlySet<string> {
  const loaded = new Set([join(code, `${path}.js`)])
  for (const file of loaded) {
    for (const [, other = ''] of readFileSync(file, 'utf8').matchAll(LOADED)) {
      loaded.add(join(dirname(file), other))
    }
  }
  return loaded
}
