const BASH = `# eval "$(eventspine completion bash)"
_eventspine() {
  # COMP_WORDS has a URL in several words, because bash separates words at colons.
  local line="\${COMP_LINE:0:COMP_POINT}" words
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  mapfile -t COMPREPLY < <(eventspine __complete "\${words[@]:1}" 2>/dev/null)
}
complete -o default -F _eventspine eventspine`

const ZSH = `#compdef eventspine
# eval "$(eventspine completion zsh)"
_eventspine() {
  local -a candidates
  candidates=("\${(@f)$(eventspine __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a candidates
}
compdef _eventspine eventspine`

const FISH = `# eventspine completion fish | source
function __eventspine_complete
  set -l words (commandline -opc) (commandline -ct)
  eventspine __complete $words[2..-1] 2>/dev/null
end
complete -c eventspine -f -a '(__eventspine_complete)'`

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH }

/** The script of a shell, which asks \`eventspine __complete\` for the candidates; undefined for another shell. */
export function completionScript(shell: string): string | undefined {
  return Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined
}
