import { sentence, toError } from '../errors.ts'

/**
 * Whether an optional npm package is installed; undefined if only loading it can tell. That is so inside a bundle, which may
 * contain the package, or may leave its resolution to the place where it runs.
 *
 * @param meta - the `import.meta` of the module that loads the package. A bundler replaces it.
 * @param ownPath - how the URL of that module ends, without its extension, unless it is in a bundle.
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
  const isInOwnFile = url.endsWith(`${ownPath}.ts`) || url.endsWith(`${ownPath}.js`)
  return isInOwnFile ? false : undefined
}

/**
 * Says why an npm package is not available.
 *
 * @param install - what `npm install` takes.
 * @param error - of loading the package; undefined if it is not installed.
 */
export function unavailable(subject: string, packageName: string, install: string, error?: unknown): string {
  if (error === undefined || isMissing(packageName, error)) {
    return `${subject} needs the npm package "${packageName}", which is not installed. Run: npm install ${install}`
  }
  return sentence(`${subject} cannot load the npm package "${packageName}": ${toError(error).message}`)
}

/** True if the package itself was not found, and not one that it needs. */
function isMissing(packageName: string, error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'MODULE_NOT_FOUND') return false
  return error.message.includes(`'${packageName}'`)
}
