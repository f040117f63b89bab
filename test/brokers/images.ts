import { readFileSync } from 'node:fs'
import type { ServerKind } from './broker.ts'
import { chosenServer } from './chosen-server.ts'

export const composeFile = new URL('../../compose.yaml', import.meta.url).pathname

/** @returns the image of a broker. compose.yaml defines the versions that the tests run on by default. */
export function imageOf(kind: ServerKind): string {
  const image = new RegExp(`^  ${kind}:\\n    image: (\\S+)$`, 'm').exec(
    readFileSync(composeFile, 'utf8'),
  )?.[1]
  if (image === undefined) throw new Error(`${composeFile} names no image for ${kind}`)
  return image
}

/** The version that the tests run on: the chosen one, otherwise that of compose.yaml. */
export function kafkaVersion(): string {
  return chosenServer('kafka')?.version ?? imageOf('kafka').replace(/^.*:/, '')
}
