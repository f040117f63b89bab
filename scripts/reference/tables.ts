/** A table of Markdown. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escaped).join(' | ')} |`
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n')
}

function escaped(cell: string): string {
  return cell.replaceAll('|', '\\|')
}

/** Replaces what stands between the markers of a page. */
export function between(page: string, name: string, text: string): string {
  const [start, end] = [`<!-- ${name}: made by npm run docs:reference -->`, `<!-- end of ${name} -->`]
  const from = page.indexOf(start)
  const to = page.indexOf(end)
  if (from === -1 || to < from) throw new Error(`the page has no markers of ${name}`)
  return `${page.slice(0, from)}${start}\n\n${text}\n\n${page.slice(to)}`
}
