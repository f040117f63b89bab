import { globSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, posix } from 'node:path'
import { expect, it } from 'vitest'
import { CONTENTS, ENTRY_POINTS } from '../../site/contents.ts'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

it('the site lists every page of docs/ once', () => {
  const listed = CONTENTS.flatMap(({ pages }) => pages.map(([name]) => `${name}.md`))
  const pages = readdirSync(new URL('../../docs', import.meta.url)).filter((name) => name.endsWith('.md'))

  expect(listed.toSorted()).toEqual(pages.toSorted())
})

it('the site has the reference of every entry point, and links to it', () => {
  const { exports } = JSON.parse(read('package.json'))
  const { entryPoints } = JSON.parse(read('site/typedoc.json'))
  const names = Object.keys(exports).filter((name) => !name.endsWith('.json'))

  expect(entryPoints).toEqual(names.map((name) => `../src${name.slice(1)}/index.ts`))
  expect(ENTRY_POINTS).toEqual(names.map((name) => name.slice(2) || 'index'))
})

it('each export has a comment', () => {
  const src = new URL('../../src/', import.meta.url).pathname
  const namesOf = (file: string): readonly string[] => {
    const code = read(posix.join('src', file))
    const all = [...code.matchAll(/^export (?:type )?\* from '(.+)'/gm)].flatMap(([, other = '']) =>
      namesOf(posix.join(dirname(file), other)),
    )
    const listed = [...code.matchAll(/^export (?:type )?\{([^}]+)\}/gm)].flatMap(([, list = '']) =>
      list.split(',').map((name) => name.trim().replace(/^type /, '')),
    )
    return [...all, ...listed]
  }
  const names = ENTRY_POINTS.flatMap((name) => namesOf(name === 'index' ? 'index.ts' : `${name}/index.ts`))
  const exported = new Set(names)
  const without = globSync('**/*.ts', { cwd: src }).flatMap((file) => {
    const declared = read(`src/${file}`).matchAll(
      /(\*\/\n)?^export (?:abstract |async )?(?:class|interface|type|enum|function\*?|const) (\w+)/gm,
    )
    // The first overload of a function has the comment of all.
    const first = Map.groupBy(declared, ([, , name = '']) => name)
    return [...first].flatMap(([name, [declaration]]) =>
      exported.has(name) && declaration?.[1] === undefined ? [`${file}: ${name}`] : [],
    )
  })

  expect(names).toContain('defineEvent')
  expect(without).toEqual([])
})
