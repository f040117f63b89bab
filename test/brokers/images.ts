import { readFileSync } from 'node:fs'
import type { ServerKind } from './broker.ts'

export const composeFile = new URL('../../compose.yaml', import.meta.url).pathname

/** @returns the image of a broker. compose.yaml alone defines the versions that the tests run on. */
export function imageOf(kind: ServerKind): string {
  const image = new RegExp(`^  ${kind}:\\n    image: (\\S+)$`, 'm').exec(
    readFileSync(composeFile, 'utf8'),
  )?.[1]
  if (image === undefined) throw new Error(`${composeFile} names no image for ${kind}`)
  return image
}

export function kafkaVersion(): string {
  return imageOf('kafka').replace(/^.*:/, '')
}
