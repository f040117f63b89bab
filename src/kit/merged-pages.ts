/** A source of sorted items. */
export interface PageSource<T> {
  /** The next items; empty if there may be more later in this source, undefined at its end. */
  next(): Promise<readonly T[] | undefined>
}

/**
 * Reads ahead of its caller, after the first page. An error in a page is thrown when the page is asked for.
 * @param count - pages that are read ahead, at once. The source must permit it if there are several.
 */
export function readAhead<T>(source: PageSource<T>, count = 1): PageSource<T> {
  const ahead: Promise<readonly T[] | undefined>[] = []
  return {
    next: async () => {
      const items = await (ahead.shift() ?? source.next())
      if (items === undefined) return undefined
      while (ahead.length < count) {
        const page = source.next()
        // A caller that ends early does not ask for it.
        page.catch(() => undefined)
        ahead.push(page)
      }
      return items
    },
  }
}

/** Merges sorted sources into pages of one order. @param isBefore - true if `a` comes before `b`. */
export async function* mergedPages<T>(
  sources: readonly PageSource<T>[],
  isBefore: (a: T, b: T) => boolean,
): AsyncGenerator<readonly T[]> {
  let open = sources.map((source) => ({ source, items: [] as readonly T[], at: 0 }))
  for (;;) {
    await Promise.all(
      open.map(async (one) => {
        while (one.at >= one.items.length) {
          const items = await one.source.next()
          if (items === undefined) return
          one.items = items
          one.at = 0
        }
      }),
    )
    open = open.filter(({ items, at }) => at < items.length)
    if (open.length === 0) return
    const page: T[] = []
    while (open.every(({ items, at }) => at < items.length)) {
      let first = open[0]
      for (const one of open) if (first === undefined || comesBefore(one, first, isBefore)) first = one
      const item = first?.items[first.at]
      if (first === undefined || item === undefined) break
      page.push(item)
      first.at += 1
    }
    yield page
  }
}

interface Front<T> {
  readonly items: readonly T[]
  readonly at: number
}

function comesBefore<T>(a: Front<T>, b: Front<T>, isBefore: (a: T, b: T) => boolean): boolean {
  const [x, y] = [a.items[a.at], b.items[b.at]]
  return x !== undefined && y !== undefined && isBefore(x, y)
}
