// Reads the members of interfaces, with their TSDoc, from the sources. TypeScript 7 has no API for it; the sources have
// the layout that Biome gives them.
import { readFileSync } from 'node:fs'

/** One member of an interface. */
export interface Member {
  readonly name: string
  readonly type: string
  readonly isOptional: boolean
  /** The TSDoc as one paragraph of Markdown; empty if there is none. */
  readonly doc: string
}

const MEMBER =
  /(?: {2}\/\*\*([\s\S]*?)\*\/\n)? {2}(?:readonly )?(\w+)(\?)?: ([\s\S]*?)(?=\n {2}(?:\/\*\*|readonly |\w+\??:)|\n$|$)/g

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** @param path - of the source, from the root of the repository. */
export function membersOf(path: string, name: string): readonly Member[] {
  const source = read(path)
  const start = source.search(new RegExp(`^export interface ${name}\\b`, 'm'))
  if (start === -1) throw new Error(`${path} has no interface ${name}`)
  const from = source.indexOf('{\n', start) + 2
  const body = source.slice(from, source.indexOf('\n}', from))
  return [...body.matchAll(MEMBER)].map(([, doc = '', member = '', optional, type = '']) => ({
    name: member,
    type: type.replace(/\s+/g, ' ').replace(/^\| /, ''),
    isOptional: optional !== undefined,
    doc: paragraph(doc),
  }))
}

/** The text of a TSDoc comment before a declaration, as lines without the stars. */
export function commentBefore(path: string, declaration: string): readonly string[] {
  const source = read(path)
  const end = source.indexOf(declaration)
  const start = source.lastIndexOf('/**', end)
  if (end === -1 || start === -1) throw new Error(`${path} has no documented "${declaration}"`)
  return linesOf(source.slice(start + 3, source.lastIndexOf('*/', end)))
}

function linesOf(comment: string): readonly string[] {
  return comment.split('\n').map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
}

function paragraph(comment: string): string {
  return linesOf(comment)
    .join(' ')
    .replace(/\{@link (\w+)\}/g, '`$1`')
    .replace(/\s+/g, ' ')
    .trim()
}
