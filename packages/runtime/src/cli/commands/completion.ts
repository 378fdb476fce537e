import { Argument, type Command } from "commander";
import { bashScript } from "../completion/bash.ts";
import { commandWords } from "../completion/command-words.ts";
import { fishScript } from "../completion/fish.ts";
import { zshScript } from "../completion/zsh.ts";
import type { CommandContext } from "../context.ts";

const SCRIPTS = { bash: bashScript, zsh: zshScript, fish: fishScript };

const HELP = `
To use it:
  bash  sovereign completion bash > ~/.local/share/bash-completion/completions/sovereign
  zsh   sovereign completion zsh > FOLDER/_sovereign   (FOLDER is one that fpath names)
  fish  sovereign completion fish > ~/.config/fish/completions/sovereign.fish`;

export function completionCommand(program: Command, { output }: CommandContext): void {
  program
    .command("completion")
    .description("print a script by which a shell completes the words of sovereign")
    .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(SCRIPTS)))
    .addHelpText("after", HELP)
    .action((shell: keyof typeof SCRIPTS) => {
      const script = SCRIPTS[shell](commandWords(program));
      if (output.json) output.printJson({ shell, script });
      else output.print(script.trimEnd());
    });
}
