import { defineCommand } from '../command.ts'
import { EXIT, UsageError } from '../exit-code.ts'

export const completion = defineCommand({
  name: 'completion',
  about: 'Prints the completion script of a shell',
  usage: '<bash|zsh|fish>',
  words: [1, 1],
  options: {},
  examples: ['completion bash', 'completion zsh', 'completion fish'],
  run: async ({ words, terminal }) => {
    const { completionScript } = await import('./completion-scripts.ts')
    const script = completionScript(words[0] ?? '')
    if (script === undefined) throw new UsageError('The shell is bash, zsh or fish.')
    await terminal.out(script)
    return EXIT.done
  },
})
