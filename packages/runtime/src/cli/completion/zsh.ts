import type { CommandWords, Value } from "./command-words.ts";

/** The script for zsh, as a file `_sovereign` in a folder of `fpath`. */
export function zshScript(commands: readonly CommandWords[]): string {
  return `#compdef sovereign
# Completion of sovereign for zsh. Type: sovereign completion zsh --help

_sovereign_at() {
  commands=() options=() list=() kind=text
  case $1 in
${commands.map(commandCase).join("\n")}
  (*) return 1 ;;
  esac
}

_sovereign_takes() {
  list=() kind=text
  case "$1 $2" in
${commands.flatMap(optionCases).join("\n")}
  (*) return 1 ;;
  esac
}

_sovereign() {
  local at='' option='' word next kind
  local -a commands options list
  integer i
  _sovereign_at ''
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if [[ -n $option ]]; then option=''; continue; fi
    if [[ $word == -- ]]; then _files; return; fi
    if [[ $word == -* ]]; then
      if _sovereign_takes "$at" "$word"; then option=$word; fi
      continue
    fi
    next=\${at:+$at }$word
    if _sovereign_at "$next"; then at=$next; fi
  done
  _sovereign_at "$at"
  if [[ -n $option ]]; then
    _sovereign_takes "$at" "$option"
    commands=() options=()
  elif [[ $PREFIX == --*=* ]] && _sovereign_takes "$at" "\${PREFIX%%=*}"; then
    compset -P 1 '*='
    commands=() options=()
  fi
  if [[ $PREFIX == -* ]]; then compadd -- $options; return; fi
  compadd -- $commands $list
  if [[ $kind == path ]]; then _files; fi
}

# Either zsh loads this file as the function, or somebody sources it.
if [[ $funcstack[1] == _sovereign ]]; then _sovereign "$@"; else compdef _sovereign sovereign; fi
`;
}

function commandCase({ name, commands, options, value }: CommandWords): string {
  const names = commands.map((one) => one.name).join(" ");
  const flags = options.flatMap((one) => one.flags).join(" ");
  return `  ('${name}') commands=(${names}) options=(${flags}) ${taken(value)} ;;`;
}

function optionCases({ name, options }: CommandWords): string[] {
  return options.flatMap(({ flags, value }) => {
    if (value === null) return [];
    const pattern = flags.map((flag) => `'${name} ${flag}'`).join("|");
    return [`  (${pattern}) ${taken(value)} ;;`];
  });
}

function taken(value: Value): string {
  return typeof value === "string" ? `kind=${value}` : `list=(${value.join(" ")})`;
}
