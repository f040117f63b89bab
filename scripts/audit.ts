// Looks up advisories of what a user of the package installs: its dependencies, and the clients that it can use. Exits with 1
// if there are some, and with 2 if the registry does not answer, which does not mean that there are none.
import { spawnSync } from 'node:child_process'

const UNKNOWN = 2

interface Report {
  readonly vulnerabilities: Readonly<
    Record<string, { readonly name: string; readonly severity: string; readonly range: string }>
  >
}

// The clients are optional peer dependencies, so leaving out those for development alone keeps them.
const { stdout, stderr } = spawnSync('npm', ['audit', '--omit=dev', '--json'], { encoding: 'utf8' })
const report = reportIn(stdout)

if (report === undefined) {
  const detail = firstLine(messageIn(stdout) ?? stderr)
  console.error(`The registry did not answer the request for advisories, so nothing was checked: ${detail}`)
  process.exitCode = UNKNOWN
} else {
  const found = Object.values(report.vulnerabilities)
  for (const { name, severity, range } of found) console.error(`${name} ${range}: ${severity}`)
  console.log(`${found.length} packages of production have advisories.`)
  process.exitCode = found.length === 0 ? 0 : 1
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
