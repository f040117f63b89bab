import { readFile } from 'node:fs/promises'
import { toError } from '../../errors.ts'
import type { Verb, Viewer } from '../../operator/index.ts'
import { UsageError } from '../exit-code.ts'
import { isSame } from './link-access.ts'

const VERBS: readonly string[] = ['see', 'read', 'operate', 'change']

interface User {
  readonly name: string
  readonly password: string
  readonly roles: readonly Verb[]
}

/**
 * Lets in the users of a file, by HTTP Basic authentication. A line is `name:password`, or `name:password:see,read` with the
 * roles of the user, which otherwise are all.
 * @throws UsageError
 */
export async function passwordAccess(file: string, isReadOnly: boolean) {
  const users = await usersIn(file)
  return (request: Request): Viewer | Response => {
    const { name, password } = credentialsOf(request)
    const user = users.find((one) => one.name === name)
    // The password is compared also for an unknown name, which takes as long.
    const isRight = isSame(password, user?.password ?? '')
    if (user !== undefined && isRight) {
      return { name, roles: user.roles.filter((verb) => !isReadOnly || verb === 'see' || verb === 'read') }
    }
    return new Response('Name or password is wrong.\n', {
      status: 401,
      headers: {
        'content-type': 'text/plain; charset=utf-8',
        'www-authenticate': 'Basic realm="eventspine", charset="UTF-8"',
      },
    })
  }
}

async function usersIn(file: string): Promise<readonly User[]> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (thrown) {
    throw new UsageError(`The file of --auth cannot be read: ${toError(thrown).message}`)
  }
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  if (lines.length === 0)
    throw new UsageError('The file of --auth has no user: write lines such as ada:password.')
  return lines.map((line, index) => userIn(line.trim(), index + 1))
}

function userIn(line: string, place: number): User {
  const [name = '', password = '', roles = VERBS.join(',')] = line.split(':')
  const given = roles.split(',')
  const wrong = given.find((role) => !VERBS.includes(role))
  if (name === '' || password.length < 8) {
    throw new UsageError(
      `Line ${place} of --auth must be name:password, with a password of at least 8 characters.`,
    )
  }
  if (wrong !== undefined) {
    throw new UsageError(`Line ${place} of --auth has an unknown role: the roles are ${VERBS.join(', ')}.`)
  }
  // Each is one of the verbs.
  return { name, password, roles: given as Verb[] }
}

function credentialsOf(request: Request): { readonly name: string; readonly password: string } {
  const [scheme = '', encoded = ''] = (request.headers.get('authorization') ?? '').split(' ')
  const text = scheme.toLowerCase() === 'basic' ? Buffer.from(encoded, 'base64').toString('utf8') : ''
  const colon = text.indexOf(':')
  return colon < 0
    ? { name: '', password: '' }
    : { name: text.slice(0, colon), password: text.slice(colon + 1) }
}
