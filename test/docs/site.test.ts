import { readdirSync, readFileSync } from 'node:fs'
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
