import { type HostRunRow, row } from "./row.ts";

/** Editors, and the agents that work in them or beside them. */
export const EDITOR_ROWS: readonly HostRunRow[] = [
  row(
    "Visual Studio Code and its kin",
    ".vscode/** *.code-workspace .vscode-test* .theia/**",
    "Tasks run on opening a folder; settings name programs that extensions start.",
    "https://code.visualstudio.com/docs/editor/workspace-trust",
  ),
  row(
    "JetBrains IDEs",
    ".idea/** *.iml *.ipr *.iws .run/** .fleet/** .aiassistant/** .junie/**",
    "Run configurations, startup tasks, file watchers, external tools.",
    "https://www.jetbrains.com/help/idea/project-security.html",
  ),
  row(
    "Visual Studio",
    ".vs/** tasks.vs.json launch.vs.json omnisharp.json",
    "Tasks and analyzers run on opening a folder.",
    "https://learn.microsoft.com/visualstudio/ide/customize-build-and-debug-tasks-in-visual-studio",
  ),
  row(
    "Eclipse and NetBeans",
    ".project .classpath .factorypath .settings/** .externalToolBuilders/** nbproject/**",
    "Builders, annotation processors and external tools run with the first build.",
    "https://help.eclipse.org/latest/topic/org.eclipse.platform.doc.user/concepts/concepts-exttools.htm",
  ),
  row(
    "Zed, Helix, Lapce, Nova, Atom, Lite XL",
    ".zed/** .rules .helix/** .lapce/** .nova/** .atom/** .lite_project.lua .lite_project",
    "Settings name language servers and tasks; Lite XL runs the project's module.",
    "https://zed.dev/docs/configuring-zed",
  ),
  row(
    "Sublime Text, KDevelop, Geany, Qt Creator, Xcode",
    "*.sublime-project *.sublime-workspace *.sublime-build .kdev4/** *.kdev4 *.geany *.pro.user CMakeLists.txt.user .qtcreator/** .swiftpm/**",
    "Build systems and tools of the project are started from them.",
    "https://www.sublimetext.com/docs/projects.html",
  ),
  row(
    "Vim and Neovim",
    ".exrc .vimrc .gvimrc _vimrc _gvimrc .nvimrc .nvim.lua .vim/** .nvim/** .lvimrc .local.vimrc .vimspector.json .ycm_extra_conf.py",
    "Sourced from the folder (exrc, localvimrc); YouCompleteMe runs its file.",
    "https://neovim.io/doc/user/options.html#'exrc'",
  ),
  row(
    "Emacs and Kakoune",
    ".dir-locals.el .dir-locals-2.el .emacs .emacs.d/** .projectile .kakrc .kakrc.local",
    "Local variables can hold forms that are evaluated.",
    "https://www.gnu.org/software/emacs/manual/html_node/emacs/Directory-Variables.html",
  ),
  row(
    "Language servers",
    ".luarc.json .luarc.jsonc .metals/** .bloop/** .bsp/** rust-analyzer.toml .rust-analyzer.toml .elixir_ls/** vetur.config.* svelte.config.* tailwind.config.* .graphqlrc* graphql.config.*",
    "Name programs or plugins that the server starts for an editor.",
    "https://build-server-protocol.github.io/docs/overview/server-discovery",
  ),
  row(
    "Linters and formatters that load code",
    ".eslintrc* eslint.config.* .prettierrc* prettier.config.* .stylelintrc* stylelint.config.* tslint.json .markdownlint* .textlintrc* .remarkrc* .pylintrc .pylintrc.toml pylintrc mypy.ini .mypy.ini .flake8 .rubocop.yml .haml-lint.yml .standard.yml .php-cs-fixer.* phpstan.neon phpstan.neon.dist phpstan.dist.neon psalm.xml psalm.xml.dist .phan/** .credo.exs .formatter.exs .sqlfluff .tflint.hcl .golangci.*",
    "An editor runs them on opening or saving; they load plugins that the file names.",
    "https://eslint.org/docs/latest/use/configure/configuration-files",
  ),
  row(
    "Claude Code",
    ".claude/** .claude-plugin/** CLAUDE.md CLAUDE.local.md",
    "Hooks and status lines run commands; instructions steer an agent that does.",
    "https://code.claude.com/docs/en/settings",
  ),
  row(
    "Instructions that agents of several makers obey",
    "AGENTS.md AGENTS.override.md AGENT.md .agents/** .agent/**",
    "An agent reads them unasked, and runs commands with its user's rights.",
    "https://agents.md/",
  ),
  row(
    "Model Context Protocol",
    ".mcp.json mcp.json .mcp/**",
    "Its servers are programs that a client starts.",
    "https://modelcontextprotocol.io/",
  ),
  row(
    "Codex, Gemini CLI, Qwen Code, OpenCode, Crush, Goose",
    ".codex/** .gemini/** GEMINI.md .qwen/** QWEN.md .opencode/** opencode.json opencode.jsonc .crush/** crush.json .crush.json CRUSH.md .goose/** .goosehints",
    "Configurations name commands and servers; instructions steer an agent.",
    "https://opencode.ai/docs/config/",
  ),
  row(
    "Cursor, Windsurf, Trae, Warp",
    ".cursor/** .cursorrules .windsurf/** .windsurfrules .codeium/** .trae/** .warp/** WARP.md",
    "Hooks, servers and rules of the editor's agent.",
    "https://cursor.com/docs/context/rules",
  ),
  row(
    "Cline, Roo Code, Kilo Code, Continue",
    ".cline/** .clinerules .clinerules/** .clinerules-* .roo/** .roomodes .roorules* .kilocode/** .kilocodemodes .continue/** .continuerc.json",
    "Rules and servers of the editor's agent.",
    "https://docs.cline.bot/features/cline-rules",
  ),
  row(
    "Aider, Amazon Q, Kiro, Amp, Augment, OpenHands and others",
    ".aider* .amazonq/** .kiro/** .amp/** .augment/** .augment-guidelines .openhands/** .openhands_instructions .factory/** .copilot/** .tabnine/** .cody/** .jules/** .devin/** .firebender/** .iflow/** .codebuddy/** .ruler/**",
    "Commands, hooks, servers and rules of an agent.",
    "https://aider.chat/docs/config/aider_conf.html",
  ),
];
