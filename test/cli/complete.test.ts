import { createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { requirePrograms } from '../brokers/programs.ts'
import { run } from '../brokers/run.ts'
import { paced } from '../support/pace.ts'
import { service } from './service.ts'

const PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** The command under its name, as in a shell whose PATH has it, and a line that ends where the user presses the tab key. */
const SHELLS = {
  bash: (line: string) => `eventspine() { "${process.execPath}" "${PROGRAM}" "$@"; }
eval "$(eventspine completion bash)"
COMP_LINE='${line}' COMP_POINT=${line.length}
_eventspine
printf '%s\n' "\${COMPREPLY[@]}"`,
  zsh: (line: string) => `eventspine() { "${process.execPath}" "${PROGRAM}" "$@"; }
autoload -Uz compinit && compinit -u -D
eval "$(eventspine completion zsh)"
compadd() { print -l -- "\${candidates[@]}"; }
line='${line}'
words=("\${(@s: :)line}") CURRENT=${line.split(' ').length}
$_comps[eventspine]`,
  fish: (line: string) => `function eventspine; "${process.execPath}" "${PROGRAM}" $argv; end
eventspine completion fish | source
complete -C '${line}'`,
} as const

/** What a shell offers at the end of the line. */
async function offered(shell: keyof typeof SHELLS, line: string, folder: string): Promise<readonly string[]> {
  const script = `cd '${folder}'\n${SHELLS[shell](line)}`
  // The description that fish shows is separated by a tab.
  return (await run(shell, ['-c', script]))
    .split('\n')
    .filter((text) => text !== '')
    .map((text) => text.split('\t')[0] ?? '')
}

beforeAll(() => requirePrograms('zsh', 'fish'), paced(300_000))

describe.each(['bash', 'zsh', 'fish'] as const)('%s', (shell) => {
  test('completes commands, their options, and the names of the configuration', async () => {
    const { folder, write } = service()
    write('eventspine.config.json', '{ "buses": { "orders": { "url": "memory:" } } }')
    expect(await offered(shell, 'eventspine pub', folder)).toEqual(['publish'])
    expect(await offered(shell, 'eventspine dlq sum', folder)).toEqual(['summary'])
    expect(await offered(shell, 'eventspine publish --aggregate', folder)).toEqual([
      '--aggregate-id',
      '--aggregate-type',
    ])
    expect(await offered(shell, 'eventspine groups --bus ', folder)).toEqual(['orders'])
    expect(await offered(shell, 'eventspine completion ', folder)).toEqual(
      expect.arrayContaining(['bash', 'zsh', 'fish']),
    )
  })

  test('completes after a URL, and offers no groups of a server that does not answer', async () => {
    const { folder } = service()
    // It accepts connections, and says nothing.
    await using server = await silentServer()
    const line = `eventspine pause redis://127.0.0.1:${server.port} `
    expect(await offered(shell, line, folder)).not.toContain('127.0.0.1')
    expect(await offered(shell, `${line}--rea`, folder)).toEqual(['--reason'])
  })
})

async function silentServer() {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('The server has no port.')
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  return {
    port: address.port,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
