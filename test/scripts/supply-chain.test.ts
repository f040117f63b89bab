import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const read = (file: string) => JSON.parse(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8'))

it('has only an API and types as runtime dependencies, and no install scripts', () => {
  const { dependencies, scripts, peerDependencies, peerDependenciesMeta } = read('package.json')

  expect(Object.keys(dependencies)).toEqual(['@opentelemetry/api', '@standard-schema/spec'])
  expect(Object.keys(scripts).filter((name) => /install|prepare/.test(name))).toEqual([])
  for (const client of Object.keys(peerDependencies)) {
    expect(peerDependenciesMeta[client]).toEqual({ optional: true })
  }
})

it('depends only on packages with a checksum in the lock file and without install scripts', () => {
  const { packages } = read('package-lock.json') as { packages: Record<string, Record<string, unknown>> }
  const runtime = Object.entries(packages).filter(
    ([path, { dev, devOptional }]) => path !== '' && dev !== true && devOptional !== true,
  )

  expect(runtime.map(([path]) => path)).toContain('node_modules/@opentelemetry/api')
  for (const [path, { integrity, hasInstallScript }] of runtime) {
    expect(String(integrity), path).toMatch(/^sha512-/)
    expect(hasInstallScript, path).toBeUndefined()
  }
})

it('has an integrity hash for every package in the lock file, also those for development', () => {
  const { packages } = read('package-lock.json') as { packages: Record<string, Record<string, unknown>> }
  const others = Object.entries(packages).filter(
    ([path, { link, inBundle }]) => path !== '' && !link && !inBundle,
  )

  expect(others.length).toBeGreaterThan(100)
  for (const [path, { integrity }] of others) expect(String(integrity), path).toMatch(/^sha512-/)
})

it('makes a bill of materials by one command', () => {
  const { stdout } = spawnSync('npm', ['run', '--silent', 'sbom'], { encoding: 'utf8' })

  const { bomFormat, components } = JSON.parse(stdout)
  expect(bomFormat).toBe('CycloneDX')
  expect(components.map(({ name }: { name: string }) => name)).toContain('@standard-schema/spec')
})
