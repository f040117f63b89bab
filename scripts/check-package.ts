// Packs the package, installs it into an empty folder without any broker client, and uses it like a user's program. With
// `--pack <folder>` it only packs, and with `--packed <folder>` it checks what was packed there.
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { followFirstHour } from './first-hour.ts'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly exports: Readonly<Record<string, unknown>>
}

const clients = [
  'redis',
  'ioredis',
  'amqplib',
  'rabbitmq-client',
  'kafkajs',
  '@confluentinc',
  '@platformatic',
]
/** Limit of the packed package, in bytes. */
const MAX_SIZE_BYTES = 1_000_000

const bin = join(import.meta.dirname, '..', 'node_modules', '.bin')

// This project's own file, which npm checks when it packs.
const manifest = JSON.parse(await readFile('package.json', 'utf8')) as Manifest
const entryPoints = Object.keys(manifest.exports)
  .filter((path) => !path.endsWith('.json'))
  .map((path) => manifest.name + path.slice(1))

interface Packed {
  readonly tarball: string
  readonly files: readonly string[]
  readonly sizeBytes: number
}

const { values } = parseArgs({ options: { pack: { type: 'string' }, packed: { type: 'string' } } })
if (values.pack !== undefined) {
  await writeFile(join(values.pack, 'packed.json'), JSON.stringify(pack(values.pack)))
  process.exit()
}
const folder = await mkdtemp(join(tmpdir(), 'eventspine-package-'))
try {
  const { tarball, files, sizeBytes } =
    values.packed === undefined ? pack(folder) : await readPacked(values.packed)
  checkFiles(files)
  await checkLinks(files)
  if (sizeBytes > MAX_SIZE_BYTES) {
    throw new Error(`The package has ${sizeBytes} bytes, and may have at most ${MAX_SIZE_BYTES}`)
  }
  run(join(bin, 'publint'), [tarball, '--strict'])
  // The profile excludes node10, which does not support exports. CommonJS gets an ES module by design: require() loads it.
  run(join(bin, 'attw'), [tarball, '--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm'])
  const consumer = await install(tarball)
  await importAll(consumer)
  checkLoaded(consumer, manifest.name, 6)
  checkLoaded(consumer, `${manifest.name}/memory`, 4)
  await compile(consumer)
  followFirstHour(folder, tarball)
} finally {
  await rm(folder, { recursive: true })
}
console.log(`Entry points that load without any client: ${entryPoints.join(', ')}`)

/** Packs as in a fresh clone, where only the prepack script creates `dist`. */
function pack(destination: string): Packed {
  rmSync('dist', { recursive: true, force: true })
  const output = run('npm', ['pack', '--json', '--pack-destination', destination])
  // npm's own report, with one entry for the one package.
  const [report] = JSON.parse(output.slice(output.indexOf('['))) as [
    { readonly files: { path: string }[]; readonly size: number },
  ]
  return {
    tarball: join(destination, `${manifest.name}-${manifest.version}.tgz`),
    files: report.files.map(({ path }) => path),
    sizeBytes: report.size,
  }
}

async function readPacked(source: string): Promise<Packed> {
  return JSON.parse(await readFile(join(source, 'packed.json'), 'utf8')) as Packed
}

/** The package holds the build, the pages, the examples and the papers of a registry page, and nothing else. */
function checkFiles(files: readonly string[]): void {
  const papers = ['LICENSE', 'README.md', 'SECURITY.md', 'package.json']
  const entries = entryPoints.map((name) => name.slice(manifest.name.length + 1))
  const expected = entries.flatMap((name) => [
    join('dist', name, 'index.js'),
    join('dist', name, 'index.d.ts'),
  ])
  const missing = [...papers, ...expected].filter((path) => !files.includes(path))
  if (missing.length > 0) throw new Error(`The package lacks ${missing.join(', ')}`)
  const allowed =
    /^(?:dist\/.+\.(?:js|d\.ts)|docs\/[\w-]+\.(?:md|svg)|examples\/(?!prisma\/generated\/).+\.(?:ts|mjs|prisma|yml|json))$/
  const others = files.filter((path) => !papers.includes(path) && !allowed.test(path))
  if (others.length > 0) throw new Error(`The package has files that it should not: ${others.join(', ')}`)
}

/** The pages link to files of the package, except below "In the repository only". */
async function checkLinks(files: readonly string[]): Promise<void> {
  const packed = new Set(files.flatMap((file) => [file, dirname(file)]))
  const dead: string[] = []
  for (const page of files.filter((file) => file.endsWith('.md'))) {
    // Pictures are in the repository only; their texts say what they show.
    const text = (await readFile(page, 'utf8'))
      .replace(/^```[\s\S]*?^```/gm, '')
      .replace(/!\[[^\]]*\]\(pictures\/[^)]*\)/g, '')
    const [own = ''] = text.split('\nIn the repository only:\n')
    for (const [, link = ''] of own.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:|^#/.test(link)) continue
      const [path = ''] = link.split('#')
      if (!packed.has(join(dirname(page), path).replace(/\/$/, ''))) dead.push(`${page}: ${link}`)
    }
  }
  if (dead.length > 0) throw new Error(`Links to files that the package lacks: ${dead.join(', ')}`)
}

async function install(tarball: string): Promise<string> {
  const consumer = join(folder, 'consumer')
  await mkdir(consumer)
  await writeFile(join(consumer, 'package.json'), '{ "private": true, "type": "module" }')
  const quick = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  run('npm', ['install', ...quick, '--omit=dev', '--omit=optional', '--omit=peer', tarball], consumer)
  const present = clients.filter((client) => existsSync(join(consumer, 'node_modules', client)))
  if (present.length > 0) throw new Error(`Installing ${manifest.name} also installed ${present.join(', ')}`)
  return consumer
}

async function importAll(consumer: string): Promise<void> {
  const load = (how: string) => `
    for (const name of ${JSON.stringify(entryPoints)}) {
      const count = Object.keys(${how}).length
      if (count === 0) throw new Error(name + ' exports nothing')
    }`
  const refuse = `
    for (const [name, value] of Object.entries(await import('${manifest.name}'))) {
      if (name.endsWith('_AVAILABLE') && value !== false) throw new Error(name + ' is true without its client')
      const client = /^(.+)NotAvailableError$/.exec(name)?.[1]
      if (client === undefined) continue
      const { [client + 'EventBus']: Bus } = await import('${manifest.name}')
      try {
        new Bus()
      } catch (error) {
        if (error instanceof value && /Run: npm install /.test(error.message)) continue
      }
      throw new Error(client + 'EventBus does not report what to install')
    }`
  await writeFile(join(consumer, 'refuse.mjs'), refuse)
  await writeFile(join(consumer, 'load.mjs'), load('await import(name)'))
  await writeFile(join(consumer, 'load.cjs'), load('require(name)'))
  for (const file of ['load.mjs', 'load.cjs', 'refuse.mjs']) run(process.execPath, [file], consumer)
}

/** Each file that an entry point loads costs time when a program starts. */
function checkLoaded(consumer: string, name: string, limit: number): void {
  const program = `
    import { registerHooks } from 'node:module'
    let files = 0
    registerHooks({
      load: (url, context, next) => {
        if (url.includes('/${manifest.name}/dist/')) files += 1
        return next(url, context)
      },
    })
    await import('${name}')
    console.log(files)`
  const files = Number(run(process.execPath, ['--input-type=module', '--eval', program], consumer))
  if (files === 0 || files > limit) throw new Error(`${name} loads ${files} files, expected 1 to ${limit}`)
}

/** Every declaration file must compile in a strict project without the types of the clients. */
async function compile(consumer: string): Promise<void> {
  const lines = entryPoints.map(
    (name, i) => `import * as m${i} from '${name}'\nexport const count${i} = Object.keys(m${i}).length`,
  )
  await writeFile(join(consumer, 'consumer.ts'), lines.join('\n'))
  const compilerOptions = {
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    typeRoots: [join(bin, '..', '@types')],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
  }
  await writeFile(
    join(consumer, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['consumer.ts'] }),
  )
  run(join(bin, 'tsc'), ['--project', 'tsconfig.json'], consumer)
}

/** @returns what the command printed. */
function run(command: string, args: readonly string[], cwd = process.cwd()): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status === 0) return stdout
  throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error })
}
