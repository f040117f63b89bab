// Looks up advisories of what a user of the package installs: its dependencies, the clients that it can use, and what these
// need. Exits with 1 if there are some, and with 2 if the registry does not answer, which does not mean that there are none.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const UNKNOWN = 2

interface Report {
  readonly vulnerabilities: Readonly<
    Record<
      string,
      {
        readonly name: string
        readonly severity: string
        readonly range: string
        readonly nodes: readonly string[]
      }
    >
  >
}

interface LockEntry {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

// The clients are installed for development here, so the whole report is needed.
const { stdout, stderr } = spawnSync('npm', ['audit', '--json'], { encoding: 'utf8' })
const report = reportIn(stdout)

if (report === undefined) {
  const detail = firstLine(messageIn(stdout) ?? stderr)
  console.error(`The registry did not answer the request for advisories, so nothing was checked: ${detail}`)
  process.exitCode = UNKNOWN
} else {
  const installed = installedByUsers()
  const found = Object.values(report.vulnerabilities).filter(({ nodes }) =>
    nodes.some((path) => installed.has(path)),
  )
  for (const { name, severity, range } of found) console.error(`${name} ${range}: ${severity}`)
  console.log(`${found.length} of ${installed.size} packages of production have advisories.`)
  process.exitCode = found.length === 0 ? 0 : 1
}

/** The paths in the lock file of all packages that the package needs, or can use. */
function installedByUsers(): ReadonlySet<string> {
  const lock = readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8')
  // npm writes it in this format.
  const { packages } = JSON.parse(lock) as { packages: Record<string, LockEntry> }
  const found = new Set<string>()
  const visit = (path: string) => {
    const { dependencies, optionalDependencies, peerDependencies } = packages[path] ?? {}
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      const next = placeOf(packages, name, path)
      if (next === undefined || found.has(next)) continue
      found.add(next)
      visit(next)
    }
  }
  visit('')
  return found
}

/** Where Node.js finds a package from the place of another; undefined if it is not installed. */
function placeOf(packages: Record<string, LockEntry>, name: string, from: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
    const path = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`
    if (Object.hasOwn(packages, path)) return path
    if (folder === '') return undefined
  }
}

function reportIn(text: string): Report | undefined {
  const answer = parsed(text)
  // npm writes this field only in a report.
  return typeof answer['vulnerabilities'] === 'object' ? (answer as unknown as Report) : undefined
}

function messageIn(text: string): string | undefined {
  const { message } = parsed(text)
  return typeof message === 'string' ? message : undefined
}

function parsed(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text))
  } catch {
    return {} // npm failed before it wrote anything
  }
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] || 'npm gave no reason'
}
