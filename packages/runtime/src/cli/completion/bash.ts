import type { CommandWords, Value } from "./command-words.ts";

/**
 * The script for bash 3.2 and newer. What the user typed and what the disk holds are only ever
 * compared and quoted: `compgen -W` and `eval` would run a `$(...)` in them.
 */
export function bashScript(commands: readonly CommandWords[]): string {
  return `# Completion of sovereign for bash. Type: sovereign completion bash --help

# What may stand behind a command's words: sets commands, options, kind and list.
_sovereign_at() {
  commands='' options='' kind=text list=''
  case $1 in
${commands.map(commandCase).join("\n")}
  *) return 1 ;;
  esac
}

# What an option of a command takes: sets kind and list; fails where it takes nothing.
_sovereign_takes() {
  kind=text list=''
  case "$1 $2" in
${commands.flatMap(optionCases).join("\n")}
  *) return 1 ;;
  esac
}

_sovereign() {
  local cur=\${COMP_WORDS[COMP_CWORD]} at='' option='' word i
  local commands options kind list next
  COMPREPLY=()
  _sovereign_at ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $word == = && -n $option ]]; then continue; fi
    if [[ -n $option ]]; then option=''; continue; fi
    if [[ $word == -- ]]; then _sovereign_paths; return; fi
    if [[ $word == -* ]]; then
      if _sovereign_takes "$at" "$word"; then option=$word; fi
      continue
    fi
    next=\${at:+$at }$word
    if _sovereign_at "$next"; then at=$next; fi
  done
  if [[ $cur == = && -n $option ]]; then cur=''; fi
  _sovereign_at "$at"
  if [[ -n $option ]]; then
    _sovereign_takes "$at" "$option"
    commands='' options=''
  fi
  if [[ $cur == -* ]]; then _sovereign_words "$options"; return; fi
  _sovereign_words "$commands $list"
  if [[ $kind == path ]]; then _sovereign_paths; fi
}

# Those of our own words that begin as the word does.
_sovereign_words() {
  local word IFS=' '
  for word in $1; do
    if [[ $word == "$cur"* ]]; then COMPREPLY+=("$word"); fi
  done
}

# Readline quotes what a name holds. Where nothing matches, it tries by itself.
_sovereign_paths() {
  local path
  compopt -o filenames -o default 2>/dev/null
  for path in "$cur"*; do
    if [[ ! -e $path && ! -L $path ]]; then continue; fi
    # A file may be named as an option is.
    if [[ $path == -* ]]; then path=./$path; fi
    COMPREPLY+=("$path")
  done
}

complete -F _sovereign sovereign
`;
}

function commandCase({ name, commands, options, value }: CommandWords): string {
  const names = commands.map((one) => one.name).join(" ");
  const flags = options.flatMap((one) => one.flags).join(" ");
  return `  '${name}') commands='${names}' options='${flags}' ${taken(value)} ;;`;
}

function optionCases({ name, options }: CommandWords): string[] {
  return options.flatMap(({ flags, value }) => {
    if (value === null) return [];
    const pattern = flags.map((flag) => `'${name} ${flag}'`).join(" | ");
    return [`  ${pattern}) ${taken(value)} ;;`];
  });
}

function taken(value: Value): string {
  return typeof value === "string" ? `kind=${value}` : `list='${value.join(" ")}'`;
}
