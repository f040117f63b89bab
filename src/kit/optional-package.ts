import { sentence, toError } from '../errors.ts'

/** A file of the built package; see scripts/build.ts. */
const OWN_PART = /\/parts\/eventspine-[\w-]+\.js$/

/**
 * Returns whether an optional npm package is installed; undefined if this is known only after loading it. That is the
 * case inside a bundle, which may contain the package, or may resolve it where the bundle runs.
 *
 * @param meta - the `import.meta` of the module that loads the package. A bundler replaces it.
 * @param ownPath - how the URL of that module ends in the sources.
 */
export function isInstalled(
  packageName: string,
  meta: Partial<ImportMeta>,
  ownPath: string,
): boolean | undefined {
  try {
    meta.resolve?.(packageName)
    if (meta.resolve !== undefined) return true
  } catch {
    // Not found from here, which decides nothing for a bundle.
  }
  const [url = ''] = meta.url?.split('?') ?? []
  return url.endsWith(ownPath) || OWN_PART.test(url) ? false : undefined
}

/**
 * Returns a message that says why an npm package is not available.
 *
 * @param install - the argument of `npm install`.
 * @param error - the error of loading the package; undefined if it is not installed.
 */
export function unavailable(subject: string, packageName: string, install: string, error?: unknown): string {
  if (error === undefined || isMissing(packageName, error)) {
    return `${subject} needs the npm package "${packageName}", which is not installed. Run: npm install ${install}`
  }
  return sentence(`${subject} cannot load the npm package "${packageName}": ${toError(error).message}`)
}

/** True if the package itself was not found. False if one of its dependencies was not found. */
function isMissing(packageName: string, error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'MODULE_NOT_FOUND') return false
  return error.message.includes(`'${packageName}'`)
}
