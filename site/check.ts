import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** One sentence for each link of the built site without a target, and for each file that a page loads from another host. */
export function siteFaults(folder: string): readonly string[] {
  const anchors = new Map<string, ReadonlySet<string>>()
  const anchorsOf = (file: string) => {
    const known = anchors.get(file)
    if (known !== undefined) return known
    const found = new Set(
      [...readFileSync(file, 'utf8').matchAll(/\sid="([^"]+)"/g)].map(([, id = '']) => id),
    )
    anchors.set(file, found)
    return found
  }
  return globSync('**/*.html', { cwd: folder }).flatMap((page) => {
    const html = readFileSync(join(folder, page), 'utf8')
    const links = [...html.matchAll(/<a\s[^>]*href="([^"]+)"/g)].map(([, href = '']) => decoded(href))
    const dead = links.flatMap((href) => {
      if (/^[a-z]+:/.test(href)) return []
      const [path = '', anchor] = href.split('#')
      const target =
        path === ''
          ? join(folder, page)
          : fileOf(path.startsWith('/') ? folder : dirname(join(folder, page)), path)
      if (target === undefined) return [`${page}: ${href} has no page`]
      const isDead =
        anchor !== undefined && anchor !== '' && target.endsWith('.html') && !anchorsOf(target).has(anchor)
      return isDead ? [`${page}: ${href} has no heading`] : []
    })
    const loaded = [
      ...html.matchAll(/<(?:script|link|img|iframe|source)\s[^>]*(?:src|href)="(https?:[^"]+)"/g),
    ]
    return [...new Set([...dead, ...loaded.map(([, url]) => `${page}: loads ${url}`)])]
  })
}

function fileOf(folder: string, path: string): string | undefined {
  const file = join(folder, path)
  return [file, `${file}.html`, join(file, 'index.html')].find(
    (candidate) => existsSync(candidate) && /\.\w+$/.test(candidate),
  )
}

function decoded(href: string): string {
  return decodeURIComponent(href.replaceAll('&amp;', '&').replaceAll('&#39;', "'"))
}
