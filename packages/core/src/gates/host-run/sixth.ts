import { type HostRunRow, row } from "./row.ts";

/**
 * Names that joined the table with the sixth dialect of policies. Evidence of earlier dialects is
 * judged without them.
 */
export const SIXTH_EDITOR_ROWS: readonly HostRunRow[] = [
  row(
    "gptme",
    "gptme.toml .gptme.toml gptme.local.toml",
    "Its context command runs, and its servers are started, when the agent starts in the folder.",
    "https://gptme.org/docs/config.html",
  ),
  row(
    "Codebuff",
    "codebuff.json codebuff.jsonc",
    "Names processes that start with the agent, and commands that run after a change.",
    "https://github.com/CodebuffAI/codebuff",
  ),
  row(
    "ECA",
    ".eca/**",
    "Names servers and hooks of the editor's agent, and holds rules that it obeys.",
    "https://eca.dev/configuration/",
  ),
];

export const SIXTH_TOOL_ROWS: readonly HostRunRow[] = [
  row(
    "More files that choose a version",
    ".bun-version .crystal-version .deno-version .dvmrc .elixir-version .erlang-version .jabbarc .julia-version .lua-version .opentofu-version .perl-version .php-version .rbenv-version .scala-version .swift-version .terragrunt-version .tfswitchrc .tgswitchrc",
    "Choose, and partly install or run, what the next command starts.",
    "https://www.swift.org/swiftly/documentation/swiftly/use-swift-toolchains/",
  ),
  row(
    "Git LFS",
    ".lfsconfig",
    "Names the server to which a push of the user's sends large files, and from which a checkout takes them.",
    "https://github.com/git-lfs/git-lfs/blob/main/docs/man/git-lfs-config.adoc",
  ),
  row(
    "Files that Windows reads to draw a folder",
    "*.lnk *.scf *.url *.library-ms *.searchConnector-ms",
    "Explorer fetches what they name when it shows the folder, and signs in there with the user's own hash.",
    "https://msrc.microsoft.com/update-guide/vulnerability/CVE-2025-24071",
  ),
];
