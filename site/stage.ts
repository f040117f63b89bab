import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join, posix, relative } from 'node:path'

const root = join(import.meta.dirname, '..')

const pagesIn = (folder: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => posix.join(folder, name))

/** Where each page of the repository is in the site. */
function placesOf(): ReadonlyMap<string, string> {
  const places = new Map([['README.md', 'index.md']])
  for (const page of pagesIn('docs')) places.set(page, basename(page))
  for (const page of pagesIn('docs/decisions')) places.set(page, `decisions/${basename(page)}`)
  for (const page of ['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md']) places.set(page, page.toLowerCase())
  return places
}

/**
 * Copies the pages into a folder of the site. Links to files that are no pages, such as examples, lead to a page with the text of
 * the file. @returns the paths of the pages in the folder.
 */
export function stage(folder: string): readonly string[] {
  const places = placesOf()
  const files = new Map<string, string>()
  const linkTo = (page: string, link: string): string => {
    if (/^[a-z]+:|^#/.test(link)) return link
    const [path = '', anchor] = link.split('#')
    const target = posix.join(posix.dirname(page), path).replace(/\/$/, '')
    const place = places.get(target) ?? placeOfFile(target, files)
    const from = posix.dirname(places.get(page) ?? page)
    return `./${posix.relative(from, place)}${anchor === undefined ? '' : `#${anchor}`}`
  }
  for (const [page, place] of places) {
    write(
      join(folder, place),
      converted(readFileSync(join(root, page), 'utf8'), (link) => linkTo(page, link)),
    )
  }
  for (const [file, place] of files) write(join(folder, place), pageOfFile(file))
  for (const name of readdirSync(join(root, 'docs'))) {
    if (name.endsWith('.svg') || name === 'charts' || name === 'pictures') {
      cpSync(join(root, 'docs', name), join(folder, name), { recursive: true })
    }
  }
  return [...places.values(), ...files.values()]
}

function placeOfFile(file: string, files: Map<string, string>): string {
  if (!existsSync(join(root, file))) throw new Error(`A page links to ${file}, which does not exist`)
  if (['.svg', '.webp'].includes(extname(file))) return posix.relative('docs', file)
  if (file === 'docs/decisions') return 'decisions/index.md'
  const place = `files/${file.replaceAll('/', '-')}.md`
  files.set(file, place)
  return place
}

/** The text without comments, with other links, outside of code. */
function converted(text: string, link: (target: string) => string): string {
  return text
    .split(/^( *```[\s\S]*?^ *```$)/m)
    .map((part, index) => {
      if (index % 2 === 1) return part
      return part
        .replace(/<!--[\s\S]*?-->\n?/g, '')
        .replace(/\]\(([^)\s]+)\)/g, (_, target: string) => `](${link(target)})`)
    })
    .join('')
}

function pageOfFile(file: string): string {
  const path = join(root, file)
  if (statSync(path).isDirectory())
    return `# ${file}\n\n${readdirSync(path)
      .map((name) => `- ${name}`)
      .join('\n')}\n`
  return `# ${file}\n\n\`\`\`\`${extname(file).slice(1).replace('mjs', 'js')}\n${readFileSync(path, 'utf8')}\`\`\`\`\n`
}

/** The page of a folder: a list of its pages. */
export function writeIndex(folder: string, title: string): void {
  const pages = readdirSync(folder).filter((name) => name.endsWith('.md') && name !== 'index.md')
  const lines = pages.map((name) => {
    const heading = /^# (.*)$/m.exec(readFileSync(join(folder, name), 'utf8'))?.[1] ?? name
    return `- [${heading}](./${name})`
  })
  write(join(folder, 'index.md'), `# ${title}\n\n${lines.join('\n')}\n`)
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

export const pathInSite = (folder: string, path: string): string => relative(folder, path)
