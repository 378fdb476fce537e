import { type HostRunRow, row } from "./row.ts";

/**
 * Names that joined the table with the third dialect of policies. Evidence of the second dialect is
 * judged without them.
 */
export const LATER_HOST_ROWS: readonly HostRunRow[] = [
  row(
    "Bots that merge, update and configure",
    "renovate.json renovate.json5 .renovaterc .renovaterc.* .github/renovate.* .gitlab/renovate.* .github/dependabot.* .mergify.yml .mergify/** .github/mergify.yml .kodiak.toml bors.toml .bulldozer.yml .policy.yml .github/settings.yml .github/auto_assign.yml .asf.yaml .hound.yml .rultor.yml .sweep.yaml sweep.yaml",
    "A bot with write access obeys them: it merges, changes settings, or runs commands for updates.",
    "https://docs.renovatebot.com/configuration-options/",
  ),
  row(
    "GitLab agents and security policies",
    ".gitlab/agents/** .gitlab/security-policies/** .gitlab/auto-deploy-values.yaml .gitlab/workspace-agent/**",
    "Give a cluster's access to projects, deploy manifests, or add jobs to pipelines.",
    "https://docs.gitlab.com/user/clusters/agent/",
  ),
  row(
    "GoCD, Buddy, JitPack, Xcode Cloud",
    "*.gocd.yaml *.gopipeline.json .buddy/** buddy.yml jitpack.yml .jitpack.yml ci_scripts/**",
    "Jobs and scripts run on a push.",
    "https://developer.apple.com/documentation/xcode/writing-custom-build-scripts",
  ),
  row(
    "Trunk, hk, nano-staged, rusty-hook, whisky, commitizen",
    ".trunk/** hk.pkl hk.local.pkl .hk/** .nano-staged.* nano-staged.* .rusty-hook.toml rusty-hook.toml whisky.json .czrc .cz.* .cz-config.*",
    "Their commands and modules run on a commit.",
    "https://hk.jdx.dev/configuration.html",
  ),
  row(
    "Cloud workspaces of agents",
    ".idx/** conductor.json .conductor/** .coder/** .daytona/** .builder/** .builderrules .bolt/** replit.md",
    "Commands run when the workspace opens; instructions steer its agent.",
    "https://firebase.google.com/docs/studio/customize-workspace",
  ),
];

export const LATER_EDITOR_ROWS: readonly HostRunRow[] = [
  row(
    "Language servers that start what the project names",
    "hie.yaml .hie.yaml .merlin .clangd .ccls buildServer.json .sourcekit-lsp/** .ropeproject/** .pyre_configuration .pyre_configuration.local .solargraph.yml .ruby-lsp/** .lsp/** .clj-kondo/** .nrepl.edn .calva/** .joyride/** ols.json zls.json config.nims *.nims nim.cfg .phpactor.json .phpactor.yml .dialyzer_ignore.exs",
    "A server starts the programs, preprocessors or modules that they name when the folder is opened.",
    "https://github.com/haskell/hie-bios#bios",
  ),
  row(
    "Dart and Flutter",
    "analysis_options.yaml .dart_tool/** .fvmrc .fvm/**",
    "The analysis server loads the plugins that it names; FVM chooses the SDK that editors start.",
    "https://dart.dev/tools/analyzer-plugins",
  ),
  row(
    "MSBuild and .NET tools",
    "Directory.Build.* Directory.Solution.* Directory.Packages.props MSBuild.rsp *.csproj.user *.vcxproj.user dotnet-tools.json",
    "Imported by their names from any folder above a project; an editor builds on opening.",
    "https://learn.microsoft.com/visualstudio/msbuild/customize-by-directory",
  ),
  row(
    "Go workspaces",
    "go.work go.work.sum",
    "Found from any folder below; replaces modules and names a toolchain that is fetched and run.",
    "https://go.dev/doc/toolchain",
  ),
  row(
    "Nx and moon",
    "nx.json .nx/** .moon/**",
    "An editor's extension starts the daemon, which loads the plugins that they name.",
    "https://nx.dev/reference/nx-json",
  ),
  row(
    "More linters and formatters that load code",
    ".oxlintrc.json oxlint.config.* xo.config.* .xo-config.* cspell.config.* .cspell.config.* dprint.json .dprint.json dprint.jsonc .dprint.jsonc .template-lintrc.js .alexrc* uno.config.* unocss.config.* windi.config.* panda.config.* .rubocop* .erb_lint.yml .erb-lint.yml .erb_linters/** .streerc .yardopts .luacheckrc .perlcriticrc .proverc .scalafix.conf .scalafmt.conf .ansible-lint .ansible-lint.yml .php_cs .php_cs.* rector.php ecs.php",
    "An editor runs them on opening or saving; they load plugins, or fetch what they name and run it.",
    "https://scalacenter.github.io/scalafix/docs/users/configuration.html",
  ),
  row(
    "PlatformIO",
    "platformio.ini",
    "The editor's extension runs the extra scripts when it opens the project.",
    "https://docs.platformio.org/en/latest/scripting/index.html",
  ),
  row(
    "LaTeX",
    ".latexmkrc latexmkrc",
    "Perl that latexmk runs; editors call it on saving.",
    "https://ctan.org/pkg/latexmk",
  ),
  row(
    "More of Vim, Neovim and Emacs",
    ".lazy.lua .neoconf.json .nlsp-settings/** .projections.json .spacemacs .doom.d/**",
    "Sourced from the folder, or name programs that plugins start.",
    "https://lazy.folke.io/configuration",
  ),
  row(
    "More agents",
    ".opencode.json .antigravity/** .rovodev/** .zencoder/** .grok/** .kimi/** .vibe/** .plandex/** .pr_agent.toml .coderabbit.yaml .coderabbit.yml greptile.json gemini-extension.json .claude.json",
    "Commands, hooks, servers and rules of an agent.",
    "https://docs.coderabbit.ai/reference/configuration",
  ),
];

export const LATER_TOOL_ROWS: readonly HostRunRow[] = [
  row(
    "shadowenv, ondir, pixi",
    ".shadowenv.d/** .ondirrc .pixi/**",
    "Run on entering the folder, or hold the programs that are then found first.",
    "https://shopify.github.io/shadowenv/",
  ),
  row(
    "Bazel, Buck, Pants, Please, Mill",
    ".bazelrc .bazelversion .bazeliskrc tools/bazel .buckconfig .buckconfig.local .buckversion .pants.rc .plzconfig .plzconfig.* mill mill.bat .mill-version .mill-jvm-opts .mill-jvm-version",
    "Choose, and partly fetch, the program that runs; editors' plugins start it on opening.",
    "https://github.com/bazelbuild/bazelisk",
  ),
  row(
    "More of Gradle and the Android SDK",
    "local.properties gradle/gradle-daemon-jvm.properties",
    "Name folders of programs that are started on opening a project.",
    "https://developer.android.com/build#properties-files",
  ),
  row(
    "docker compose overrides",
    "docker-compose.override.yml docker-compose.override.yaml compose.override.yml compose.override.yaml docker-bake.override.json docker-bake.override.hcl",
    "Read beside the file that was named: they mount folders of the host and change commands.",
    "https://docs.docker.com/compose/how-tos/multiple-compose-files/merge/",
  ),
  row(
    "Web servers and PHP",
    ".htaccess .user.ini php.ini web.config",
    "Obeyed where the folder is served: they name handlers and files that run before each page.",
    "https://www.php.net/manual/configuration.file.per-user.php",
  ),
  row(
    "Chef and Ansible",
    ".chef/** .ansible/** .vagrant/**",
    "Ruby, plugins and programs that the tool loads from the folder.",
    "https://docs.chef.io/workstation/config_rb/",
  ),
  row(
    "More interpreters and tools that start in the folder",
    "renv/activate.R packrat/init.R .psysh.php .julia/** finish.m autoexec.sas profile.do .mapleinit .rizinrc .valgrindrc .gnuplot .pythonrc .pythonrc.py .xonshrc .tclshrc .sbclrc .guile",
    "Run, or name what runs, when the program starts.",
    "https://rstudio.github.io/renv/articles/renv.html",
  ),
  row(
    "More of a home folder",
    ".netrc .curlrc .wgetrc .psqlrc .sqliterc .my.cnf .screenrc .tmux.conf .forward .procmailrc .muttrc profile.ps1 *_profile.ps1",
    "Run commands or choose servers, where the repository holds a home folder.",
    "https://www.postgresql.org/docs/current/app-psql.html",
  ),
];
