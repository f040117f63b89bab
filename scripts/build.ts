// Builds the package into dist: code without comments, and the declarations, with their comments, that the entry points reach.
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')
/** A relative import in code or in a declaration; group 1 is its path without the extension. */
const IMPORTED = /(?:\bfrom|\bimport)[\s(]*["'](\.[^"']+)\.[jt]s["']/g

rmSync(dist, { recursive: true, force: true })
tsc('--emitDeclarationOnly')
// The first run has checked the types.
tsc('--noCheck', '--declaration', 'false', '--removeComments')
const reached = reachedDeclarations()
for (const file of globSync('**/*.d.ts', { cwd: dist })) {
  if (!reached.has(join(dist, file))) rmSync(join(dist, file))
}
removeEmptyModules()
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

/** The declarations of the entry points, and those that they import, directly or not. */
function reachedDeclarations(): ReadonlySet<string> {
  // This project's own file.
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly exports: Readonly<Record<string, string | { readonly types: string }>>
  }
  const entries = Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? [] : entry.types))
  const reached = new Set(entries.map((types) => join(root, types)))
  // A set iterates over what is added meanwhile, too.
  for (const file of reached) {
    for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(IMPORTED)) {
      reached.add(`${join(dirname(file), path)}.d.ts`)
    }
  }
  return reached
}

/** Removes the modules of files that declare only types. No module imports them. */
function removeEmptyModules(): void {
  const texts = new Map(
    globSync('**/*.js', { cwd: dist }).map((file) => [
      join(dist, file),
      readFileSync(join(dist, file), 'utf8'),
    ]),
  )
  const empty = [...texts].flatMap(([file, text]) => (text.trim() === 'export {};' ? file : []))
  const imported = new Set(
    [...texts].flatMap(([file, text]) =>
      [...text.matchAll(IMPORTED)].map(([, path = '']) => `${join(dirname(file), path)}.js`),
    ),
  )
  for (const file of empty) {
    if (imported.has(file)) throw new Error(`A module imports ${file}, which is empty: use "import type"`)
    rmSync(file)
  }
}
