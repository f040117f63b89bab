import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { paced } from '../support/pace.ts'

const script = fileURLToPath(new URL('../../scripts/audit.ts', import.meta.url))

/** What the registry knows of a package: enough to compute who depends on it. */
function packument(path: string): string {
  const name = decodeURIComponent(path.slice(1))
  return JSON.stringify({ name, versions: { '1.0.0': { name, version: '1.0.0' } } })
}

const ADVISORY = {
  ...{ id: 1, url: '', title: 'x', severity: 'high', cwe: [], cvss: {} },
  vulnerable_versions: '>=0',
}

/** Runs the script with a registry of this test. @param advise - answers the request for advisories. */
async function auditWith(advise: (response: ServerResponse) => void) {
  const server = createServer((request, response) => {
    if (request.url === '/-/npm/v1/security/advisories/bulk') advise(response)
    else response.end(packument(request.url ?? ''))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  // A server that listens on a port has this address.
  const { port } = server.address() as AddressInfo
  const npm = { npm_config_registry: `http://127.0.0.1:${port}/`, npm_config_fetch_retries: '0' }
  const run = promisify(execFile)(process.execPath, [script], { env: { ...process.env, ...npm } })
  return run.then(
    ({ stdout }) => ({ code: 0, output: stdout }),
    ({ code, stdout, stderr }) => ({ code, output: `${stdout}${stderr}` }),
  )
}

it('passes if the registry has no advisories', { timeout: paced(60_000) }, async () => {
  const { code, output } = await auditWith((response) => response.end('{}'))

  expect(code).toBe(0)
  expect(output).toMatch(/^0 of \d+ packages of production have advisories\.\n$/)
})

it('names a client that has an advisory, and fails', { timeout: paced(60_000) }, async () => {
  const { code, output } = await auditWith((response) => response.end(JSON.stringify({ pg: [ADVISORY] })))

  expect(code).toBe(1)
  expect(output).toMatch(/^pg .*: high$/m)
})

it('passes if only a package for development has an advisory', { timeout: paced(60_000) }, async () => {
  const { code, output } = await auditWith((response) => response.end(JSON.stringify({ vitest: [ADVISORY] })))

  expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/^0 of /) })
})

it('says that nothing was checked if the registry does not answer', { timeout: paced(60_000) }, async () => {
  const { code, output } = await auditWith((response) => response.writeHead(405).end())

  expect(code).toBe(2)
  expect(output).toMatch(
    /^The registry did not answer the request for advisories, so nothing was checked: 405 /,
  )
})
