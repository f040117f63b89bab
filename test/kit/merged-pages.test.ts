import { expect, test } from 'vitest'
import { mergedPages, type PageSource, readAhead } from '../../src/kit/merged-pages.ts'

/** A source of these pages, which counts how many were read. An error is thrown in its turn. */
function sourceOf(...pages: readonly (readonly number[] | Error)[]): PageSource<number> & { reads: number } {
  return {
    reads: 0,
    async next() {
      const page = pages[this.reads]
      this.reads += 1
      if (page instanceof Error) throw page
      return page
    },
  }
}

const isBefore = (a: number, b: number) => a < b

test('pages of several sources come in one order, also past pages that are empty', async () => {
  const pages = mergedPages([sourceOf([1, 4], [], [9]), sourceOf([2, 3, 5]), sourceOf()], isBefore)
  const merged: number[] = []
  for await (const page of pages) merged.push(...page)
  expect(merged).toEqual([1, 2, 3, 4, 5, 9])
})

test('a source that reads ahead has the next page when it is asked for, and no more than that', async () => {
  const source = sourceOf([1], [2], [3])
  const ahead = readAhead(source)
  expect(source.reads).toBe(0)
  expect(await ahead.next()).toEqual([1])
  expect(source.reads).toBe(2)
  expect([await ahead.next(), await ahead.next(), await ahead.next()]).toEqual([[2], [3], undefined])
})

test('a source that reads several pages ahead reads them at once, and in order', async () => {
  const source = sourceOf([1], [2], [3], [4], [5])
  const ahead = readAhead(source, 3)
  expect([await ahead.next(), source.reads]).toEqual([[1], 4])
  expect([await ahead.next(), source.reads]).toEqual([[2], 5])
  const rest = [await ahead.next(), await ahead.next(), await ahead.next(), await ahead.next()]
  expect(rest).toEqual([[3], [4], [5], undefined])
})

test('a page that could not be read ahead fails when it is asked for, and harms nobody who does not', async () => {
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  const ahead = readAhead(sourceOf([1], new Error('cut')))
  expect(await ahead.next()).toEqual([1])
  // Node reports unhandled rejections between two turns of the event loop.
  await new Promise(setImmediate)
  expect(unhandled).toEqual([])
  await expect(ahead.next()).rejects.toThrow('cut')
  process.off('unhandledRejection', note)
})
