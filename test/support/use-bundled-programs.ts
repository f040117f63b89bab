// Loaded first in each process that a test starts. If a bundle of the program exists, it runs in place of the program; see
// `bundlePrograms`.
import { existsSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = new URL('../..', import.meta.url).href
const bundles = process.env['EVENTSPINE_TEST_PROGRAMS']
const [, program = ''] = process.argv

/** @returns undefined if there is no bundle of this file. */
function bundleOf(url: string): string | undefined {
  if (bundles === undefined || !url.startsWith(root) || !url.endsWith('.ts')) return undefined
  const bundle = new URL(url.slice(root.length).replace(/ts$/, 'js'), `${pathToFileURL(bundles).href}/`)
  return existsSync(fileURLToPath(bundle)) ? bundle.href : undefined
}

if (program.startsWith('/') && bundleOf(pathToFileURL(program).href) !== undefined) {
  registerHooks({
    resolve: (specifier, context, next) => {
      const found = next(specifier, context)
      const url = bundleOf(found.url)
      return url === undefined ? found : { ...found, url, format: 'module' }
    },
  })
}
