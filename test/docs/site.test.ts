import { globSync, readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { CONTENTS } from '../../site/contents.ts'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

it('the site lists every page of docs/ once', () => {
  const listed = CONTENTS.flatMap(({ pages }) => pages.map(([name]) => `${name}.md`))
  const pages = readdirSync(new URL('../../docs', import.meta.url)).filter((name) => name.endsWith('.md'))

  expect(listed.toSorted()).toEqual(pages.toSorted())
})

it('the site has the reference of every entry point', () => {
  const { exports } = JSON.parse(read('package.json'))
  const { entryPoints } = JSON.parse(read('site/typedoc.json'))
  const names = Object.keys(exports).filter((name) => !name.endsWith('.json'))

  expect(entryPoints).toEqual(names.map((name) => `../src${name.slice(1)}/index.ts`))
})

it('each exported class, interface and type has a comment', () => {
  const src = new URL('../../src/', import.meta.url).pathname
  const indexes = globSync(['index.ts', '*/index.ts'], { cwd: src }).filter(
    (file) => !/^(?:cli|kit)/.test(file),
  )
  const names = indexes.flatMap((file) => {
    const lists = read(`src/${file}`).matchAll(/^export (?:type )?\{([^}]+)\}/gm)
    return [...lists].flatMap(([, list = '']) => [...list.matchAll(/(\w+),?\s/g)].map(([, name]) => name))
  })
  const exported = new Set(names)
  const without = globSync('**/*.ts', { cwd: src }).flatMap((file) =>
    [
      ...read(`src/${file}`).matchAll(
        /(?<!\*\/\n)^export (?:abstract )?(?:class|interface|type|enum) (\w+)/gm,
      ),
    ].flatMap(([, name]) => (exported.has(name) ? `${file}: ${name}` : [])),
  )

  expect(without).toEqual([])
})
