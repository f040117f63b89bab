import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { freePort } from '../brokers/free-port.ts'
import { findProgram } from '../brokers/programs.ts'
import { run } from '../brokers/run.ts'
import { itUnless } from '../support/left-out.ts'
import { service } from './service.ts'

const PROGRAM = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const ESCAPE = '\u001B['

it('writes colors only to a terminal, unless the environment asks for them', async () => {
  const url = `redis://127.0.0.1:${await freePort()}`
  const doctor = async (environment: Record<string, string>) => {
    const { code, stdout } = await service(environment).run('doctor', url)
    expect(code).toBe(3)
    return stdout.includes(ESCAPE)
  }
  expect(await doctor({ FORCE_COLOR: '', NO_COLOR: '' })).toBe(false)
  expect(await doctor({ FORCE_COLOR: '1', NO_COLOR: '' })).toBe(true)
  expect(await doctor({ FORCE_COLOR: '1', NO_COLOR: '1' })).toBe(false)
})

it('writes data and nothing else to stdout', async () => {
  const { run: command } = service()
  await command('migrate', 'sqlite:shop.db')
  for (const words of [['subscriptions'], ['events'], ['tail', '--for', '1s']]) {
    const { stdout } = await command(...words, 'sqlite:shop.db', '--json')
    for (const line of stdout.split('\n')) if (line !== '') expect(JSON.parse(line)).toBeTypeOf('object')
  }
})

/** The command under its name, as in a shell whose PATH has it. */
const SHELLS = {
  bash: `eventspine() { "${process.execPath}" "${PROGRAM}" "$@"; }
eval "$(eventspine completion bash)"
COMP_WORDS=(eventspine pub) COMP_CWORD=1
_eventspine
echo "\${COMPREPLY[@]}"`,
  zsh: `eventspine() { "${process.execPath}" "${PROGRAM}" "$@"; }
autoload -Uz compinit && compinit -u -D
eval "$(eventspine completion zsh)"
compadd() { print -l "\${candidates[@]}"; }
words=(eventspine pub) CURRENT=2
$_comps[eventspine]`,
  fish: `function eventspine; "${process.execPath}" "${PROGRAM}" $argv; end
eventspine completion fish | source
complete -C 'eventspine pub'`,
} as const

for (const [name, script] of Object.entries(SHELLS)) {
  const isHere = (await findProgram(name)) !== undefined
  itUnless(isHere ? undefined : `needs ${name}`, `completes commands in ${name}`, async () => {
    expect((await run(name, ['-c', script])).trim()).toBe('publish')
  })
}
