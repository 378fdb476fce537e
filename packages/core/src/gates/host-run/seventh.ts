import { type HostRunRow, row } from "./row.ts";

/**
 * Names that joined the table with the seventh dialect of policies. Evidence of earlier dialects is
 * judged without them.
 */
export const SEVENTH_HOST_ROWS: readonly HostRunRow[] = [
  row(
    "Linters of hosts",
    ".github/linters/** .mega-linter.yml .mega-linter.yaml",
    "Name commands, or hold the linters' own configurations, which load code on a push.",
    "https://github.com/super-linter/super-linter#configure-linters",
  ),
  row(
    "Tools of releases and reviews",
    ".releaserc .releaserc.* release.config.* .release-it.* .goreleaser.y*ml goreleaser.y*ml .changeset/config.json Dangerfile dangerfile.*",
    "Their plugins and commands run in the host's jobs, with its tokens.",
    "https://semantic-release.gitbook.io/semantic-release/usage/configuration",
  ),
  row(
    "Chromium's depot_tools and myrepos",
    "PRESUBMIT.py codereview.settings .vpython3 .mrconfig",
    "Run, or name what runs, when a change is uploaded or repositories are updated.",
    "https://www.chromium.org/developers/how-tos/depottools/presubmit-scripts/",
  ),
  row(
    "Qlty, treefmt, lintrunner",
    ".qlty/** treefmt.toml .treefmt.toml treefmt.nix .lintrunner.toml",
    "The commands that they name run on a commit or when an editor saves.",
    "https://treefmt.com/latest/getting-started/configure/",
  ),
];

export const SEVENTH_EDITOR_ROWS: readonly HostRunRow[] = [
  row(
    "More language servers that start what the project names",
    "erlang_ls.config kls-classpath kls-classpath.* kotlinLspClasspath.* pyrefly.toml .jedi/** CMakePresets.json CMakeUserPresets.json vcpkg-configuration.json _CoqProject _RocqProject",
    "The server or the editor's extension starts the program, or loads the plugin, that they name.",
    "https://pyrefly.org/en/docs/configuration",
  ),
  row(
    "Still more linters that load code",
    "PSScriptAnalyzerSettings.psd1 .htmlvalidate.* .secretlintrc* .pug-lintrc* .scss-lint.yml .jscsrc .mdlrc .puppet-lint.rc .checkov.y*ml .spectral.* redocly.yaml .redocly.yaml .solhint.* buf.yaml phpcs.xml .phpcs.xml phpcs.xml.dist .phpcs.xml.dist",
    "An editor runs them on opening or saving; they load the rules that the file names.",
    "https://learn.microsoft.com/powershell/utility-modules/psscriptanalyzer/using-scriptanalyzer",
  ),
  row(
    "TextMate and Spyder",
    ".tm_properties .spyproject/**",
    "Set variables that name programs, or the interpreter that the editor starts.",
    "https://macromates.com/blog/2011/git-style-configuration/",
  ),
  row(
    "Still more agents",
    ".github/lsp.json lsp.json .forge/** forge.yaml .comate/** .marscode/** .nanocoder/** agents.config.json .letta/** .skills/** .fast-agent/** fastagent.config.yaml mcp_agent.config.yaml",
    "Commands, hooks, servers and rules of an agent.",
    "https://docs.github.com/copilot/concepts/agents/copilot-cli/lsp-servers",
  ),
];

export const SEVENTH_TOOL_ROWS: readonly HostRunRow[] = [
  row(
    "Still more files that choose a version",
    "lean-toolchain .zigversion .zig-version .naverc .n-node-version .puro.json .vfox.toml vfox.toml aqua.y*ml .aqua.y*ml .aqua/** aqua/aqua.y*ml .corepack.env project/build.properties",
    "Choose, and partly install or run, what the next command or an editor starts.",
    "https://github.com/leanprover/elan",
  ),
  row(
    "More that runs on entering a folder",
    ".envrc.* .direnv/** .devbox/** pkgx.yml pkgx.yaml flake.nix flake.lock guix.scm manifest.scm",
    "Read by an .envrc that was once allowed, or by a hook of the shell, without asking again.",
    "https://direnv.net/man/direnv-stdlib.1.html",
  ),
  row(
    "More of Bazel, sbt, Mill, MSBuild, Leiningen and act",
    "*.bazelrc .bazelrc.* .sbtrc .sbtconfig .mill-opts before.*.sln.targets after.*.sln.targets .paket/** profiles.clj .lein-env .actrc",
    "Read by the tool itself, besides the build that it was asked for; editors start it on opening.",
    "https://learn.microsoft.com/visualstudio/msbuild/customize-solution-build",
  ),
  row(
    "Conda environments",
    ".conda/**",
    "Editors start the interpreter that they find.",
    "https://code.visualstudio.com/docs/python/environments",
  ),
  row(
    "Still more that starts in the folder",
    "irb.rc _irbrc $irbrc .rspec-local .radian_profile araraconfig.yaml .araraconfig.yaml arararc.yaml .arararc.yaml",
    "Run, or name what runs, when the program starts.",
    "https://docs.ruby-lang.org/en/master/IRB.html",
  ),
  row(
    "Still more of a home folder",
    ".lessfilter .mailcap .wezterm.lua .hammerspoon/** .xsessionrc .mavenrc .antrc",
    "Run commands or name them, where the repository holds a home folder.",
    "https://man7.org/linux/man-pages/man1/less.1.html",
  ),
];
