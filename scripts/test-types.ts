// Compiles test/types with each supported version of TypeScript, as programs that use the built package, and with each setting
// of docs/settings.md.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The oldest supported version, the last of each major version, and some between. */
const VERSIONS = ['5.4.5', '5.6.3', '5.9.3', '6.0.3', '7.0.2']

/** Compiler options with which a program compiles, in addition to those of all programs. */
const SETTINGS: readonly Readonly<Record<string, unknown>>[] = [
  { module: 'node16', moduleResolution: 'node16' },
  { module: 'esnext', moduleResolution: 'bundler' },
  { target: 'esnext', lib: ['esnext'] },
  { exactOptionalPropertyTypes: false },
  { noUncheckedIndexedAccess: true, noPropertyAccessFromIndexSignature: true },
  { verbatimModuleSyntax: true, isolatedModules: true },
  { experimentalDecorators: true },
]
/** Compiler options with which TypeScript does not find the entry points, in the versions that have them. */
const REFUSED = { module: 'esnext', moduleResolution: 'node10' }

const root = join(import.meta.dirname, '..')
const cache = join(root, 'node_modules', '.cache', 'typescript')
const given = process.argv.slice(2)

const folder = await mkdtemp(join(tmpdir(), 'eventspine-types-'))
let failures = 0
try {
  prepare()
  for (const version of given.length > 0 ? given : VERSIONS) {
    report(version, faultsOf(compile(version)))
    for (const settings of SETTINGS) {
      report(`${version} ${JSON.stringify(settings)}`, faultsWith(version, settings))
    }
    const isFound = faultsWith(version, REFUSED).every((fault) => !/error TS/.test(fault))
    const faults = isFound ? ['compiles, which docs/settings.md denies'] : []
    report(`${version} ${JSON.stringify(REFUSED)}`, faults)
  }
} finally {
  await rm(folder, { recursive: true })
}
process.exitCode = failures === 0 ? 0 : 1

function report(what: string, faults: readonly string[]): void {
  failures += faults.length
  console.log(`TypeScript ${what}: ${faults.length === 0 ? 'as expected' : faults.join('\n  ')}`)
}

/** What the compiler prints about the accepted programs with other settings. */
function faultsWith(version: string, settings: Readonly<Record<string, unknown>>): readonly string[] {
  const config = {
    extends: './tsconfig.json',
    compilerOptions: settings,
    files: ['accepted.ts', 'entry-points.ts'],
  }
  writeFileSync(join(folder, 'settings.json'), JSON.stringify(config))
  const output = compile(version, '-p', 'settings.json')
  return output.split(/\n(?=\S)/).filter((text) => text.trim() !== '')
}

/** A program next to the packages that it imports. */
function prepare(): void {
  const modules = join(folder, 'node_modules')
  mkdirSync(modules)
  symlinkSync(root, join(modules, 'eventspine'))
  for (const name of ['zod', '@types', '@standard-schema', '@opentelemetry']) {
    symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  for (const name of ['accepted.ts', 'refused.ts']) writeFileSync(join(folder, name), sourceOf(name))
  const imports = ['memory', 'redis', 'rabbitmq', 'kafka', 'sqlite', 'postgres', 'testing']
  const lines = imports.map((name) => `export * as ${name} from 'eventspine/${name}'`)
  writeFileSync(join(folder, 'entry-points.ts'), lines.join('\n'))
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    strict: true,
    exactOptionalPropertyTypes: true,
    // The declarations of other packages may need a newer compiler.
    skipLibCheck: true,
    noEmit: true,
  }
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
}

function sourceOf(name: string): string {
  return readFileSync(join(root, 'test', 'types', name), 'utf8')
}

/** @returns what the compiler of this version printed. */
function compile(version: string, ...args: readonly string[]): string {
  const home = join(cache, version)
  if (!existsSync(join(home, 'node_modules', 'typescript'))) {
    mkdirSync(home, { recursive: true })
    writeFileSync(join(home, 'package.json'), '{ "private": true }')
    const install = ['install', '--no-audit', '--no-fund', '--no-save', `typescript@${version}`]
    const { status, stderr } = spawnSync('npm', install, { cwd: home, encoding: 'utf8' })
    if (status !== 0) throw new Error(`npm install typescript@${version} failed:\n${stderr}`)
  }
  const tsc = join(home, 'node_modules', '.bin', 'tsc')
  const { stdout, error } = spawnSync(tsc, ['--pretty', 'false', ...args], { cwd: folder, encoding: 'utf8' })
  if (error !== undefined) throw error
  return stdout
}

/** Errors that are missing, do not match, or are not expected. */
function faultsOf(output: string): readonly string[] {
  const errors = new Map<number, string>()
  const faults: string[] = []
  for (const message of output.split(/\n(?=\S)/).filter((text) => text.trim() !== '')) {
    const line = /^refused\.ts\((\d+),\d+\): error /.exec(message)?.[1]
    if (line === undefined) faults.push(message.trim())
    else errors.set(Number(line), `${errors.get(Number(line)) ?? ''}${message}`)
  }
  const lines = sourceOf('refused.ts').split('\n')
  for (const [index, text] of lines.entries()) {
    const pattern = /^\/\/ refused: (.+)$/.exec(text)?.[1]
    const line = index + 2
    if (pattern === undefined) continue
    const message = errors.get(line)
    errors.delete(line)
    if (message === undefined) faults.push(`refused.ts(${line}): compiles, expected: ${pattern}`)
    else if (!new RegExp(pattern, 's').test(message)) faults.push(`expected: ${pattern}\n  got: ${message}`)
  }
  return [...faults, ...errors.values()]
}
