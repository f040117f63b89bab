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
