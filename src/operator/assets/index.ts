import { createHash } from 'node:crypto'
import { eventsStyle } from '../pages/events/style.ts'
import { lettersStyle } from '../pages/letters/style.ts'
import { liveScript } from '../pages/live/script.ts'
import { liveStyle } from '../pages/live/style.ts'
import { mapStyle } from '../pages/map/style.ts'
import { icon } from './icon.ts'
import { script } from './script.ts'
import { style } from './style.ts'

export interface Asset {
  readonly path: string
  readonly type: string
  readonly body: string
}

/** A part for each concern. A page that needs styles or code of its own adds a part. */
const STYLES: readonly string[] = [style, lettersStyle, eventsStyle, liveStyle, mapStyle]
const SCRIPTS: readonly string[] = [script, liveScript]

const ASSETS = {
  style: assetOf('page', 'css', 'text/css; charset=utf-8', STYLES.join('\n')),
  script: assetOf('page', 'js', 'text/javascript; charset=utf-8', SCRIPTS.join('\n')),
  icon: assetOf('icon', 'svg', 'image/svg+xml', icon),
} as const

/** The segments of an asset's path. They contain a hash of its text, so that browsers keep it forever. */
export function assetPath(name: keyof typeof ASSETS): readonly string[] {
  return ['_', ASSETS[name].path]
}

export function assetAt(path: string): Asset | undefined {
  return Object.values(ASSETS).find((asset) => `/_/${asset.path}` === path)
}

function assetOf(name: string, ending: string, type: string, body: string): Asset {
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16)
  return { path: `${name}.${hash}.${ending}`, type, body }
}
