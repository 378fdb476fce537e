import { type HostRunRow, row } from "./row.ts";

/**
 * Names that joined the table with the fourth dialect of policies. Evidence of earlier dialects is
 * judged without them.
 */
export const FOURTH_HOST_ROWS: readonly HostRunRow[] = [
  row(
    "Workspaces that agents' desks make",
    ".mux/** .superset/** .emdash.json",
    "Set-up commands run when a work tree is made for an agent.",
    "https://mux.coder.com/hooks/init",
  ),
];

export const FOURTH_EDITOR_ROWS: readonly HostRunRow[] = [
  row(
    "pi",
    ".pi/** .omp/**",
    "Extensions are loaded, and instructions obeyed, when the agent starts in the folder.",
    "https://github.com/badlogic/pi-mono/tree/main/packages/coding-agent",
  ),
  row(
    "Agents that share skills",
    "SKILL.md .adal/** .bob/** .commandcode/** .cortex/** .deepagents/** .kode/** .lingma/** .mcpjam/** .neovate/** .pochi/** .qoder/** .kilo/** kilo.json kilo.jsonc .qodo/** .serena/** .tessl/** .rulesync/** rulesync.jsonc .cursor-plugin/** qwen-extension.json IFLOW.md",
    "Instruct an agent that runs commands, or are copied to where it finds them.",
    "https://github.com/vercel-labs/skills",
  ),
  row(
    "Kate, Pragtical, Tern",
    ".kateproject .kateproject.* .pragtical_project.lua .tern-project .tern-config",
    "Name programs and plugins, or hold Lua, that run when the folder is opened.",
    "https://docs.kde.org/stable5/en/kate/kate/kate-application-plugin-projects.html",
  ),
  row(
    "lintr and CSpell",
    ".lintr .lintr.R .cspell.json* .cspell.y*ml .cspell.toml .cspell.config.* cspell.json* cspell.y*ml cspell.toml",
    "Hold R that is evaluated, or name JavaScript that is imported, when an editor checks a file.",
    "https://lintr.r-lib.org/articles/lintr.html",
  ),
];

export const FOURTH_TOOL_ROWS: readonly HostRunRow[] = [
  row(
    "Hermit, devenv, nix-direnv, autoenv",
    "bin/activate-hermit bin/hermit bin/hermit.hcl devenv.nix devenv.yaml devenv.local.* .devenv/** shell.nix .env.leave",
    "Run on entering or leaving the folder, where its environment was once allowed.",
    "https://cashapp.github.io/hermit/usage/shell-integration/",
  ),
];
