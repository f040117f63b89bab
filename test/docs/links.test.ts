import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { anchorOf } from '../../site/anchors.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const pagesIn = (folder: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name))

const PAGES = [...pagesIn('.'), ...pagesIn('docs'), ...pagesIn('docs/decisions')]

const read = (page: string) => readFileSync(join(root, page), 'utf8').replace(/^```[\s\S]*?^```/gm, '')

/** The anchors of the headings, as GitHub makes them. */
function anchorsOf(page: string): ReadonlySet<string> {
  const anchors = new Set<string>()
  for (const [, title = ''] of read(page).matchAll(/^#+ (.*)$/gm)) {
    const anchor = anchorOf(title)
    let unique = anchor
    for (let n = 1; anchors.has(unique); n += 1) unique = `${anchor}-${n}`
    anchors.add(unique)
  }
  return anchors
}

/** One sentence for each link without a target. */
function deadLinks(page: string): readonly string[] {
  const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .flatMap((link) => {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : relative(root, join(root, dirname(page), path))
      if (!existsSync(join(root, target))) return [`${link}: there is no ${target}`]
      const isDead = anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).has(anchor)
      return isDead ? [`${link}: ${target} has no heading ${anchor}`] : []
    })
}

it.each(PAGES)('%s has a target for each of its links', (page) => {
  expect(deadLinks(page)).toEqual([])
})

it('README.md leads to each page of docs/', () => {
  const linked = new Set([...read('README.md').matchAll(/\]\((docs\/[^)#]+)/g)].map(([, link]) => link))

  expect(pagesIn('docs').filter((page) => !linked.has(page))).toEqual([])
})
