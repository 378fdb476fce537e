import { type HostRunRow, row } from "./row.ts";

/** Shells, package managers, interpreters, debuggers, and other tools of the command line. */
export const TOOL_ROWS: readonly HostRunRow[] = [
  row(
    "direnv, autoenv, devbox, Flox, pkgx",
    ".envrc .autoenv .autoenv.zsh .autoenv_leave.zsh .env.zsh devbox.json .flox/** .pkgx.yml .pkgx.yaml",
    "Run on entering the folder.",
    "https://direnv.net/",
  ),
  row(
    "dotenv files",
    ".env .env.local .env.*.local .env.development .env.production .env.staging .env.test .flaskenv .overmind.env",
    "Tools load them unasked; variables such as NODE_OPTIONS and PYTHONPATH name code.",
    "https://code.visualstudio.com/docs/python/environments",
  ),
  row(
    "mise, asdf, nvm, rvm, pyenv, SDKMAN and the like",
    "mise.toml .mise.toml mise.*.toml .mise.*.toml .mise/** mise/** .rtx.toml .tool-versions .nvmrc .node-version .python-version .ruby-version .ruby-gemset .rvmrc .java-version .sdkmanrc .go-version .terraform-version .prototools global.json",
    "Choose, and partly install or run, what the next command starts.",
    "https://mise.jdx.dev/configuration.html",
  ),
  row(
    "Shells",
    ".profile .bashrc .bash_profile .bash_login .bash_logout .bash_aliases .zshrc .zshenv .zprofile .zlogin .zlogout .cshrc .tcshrc .login .logout .kshrc .mkshrc .xinitrc .xprofile .xsession .inputrc",
    "Run when a shell starts, where the repository holds a home folder.",
    "https://www.gnu.org/software/bash/manual/html_node/Bash-Startup-Files.html",
  ),
  row(
    "Configuration of a home folder",
    ".config/** .local/bin/** .ssh/** .gnupg/** .aws/** .kube/** .docker/** Library/LaunchAgents/**",
    "Names programs, services and credential helpers; some tools read .config in a project.",
    "https://specifications.freedesktop.org/basedir-spec/latest/",
  ),
  row(
    "npm, Yarn, pnpm, Bun",
    ".npmrc .yarnrc .yarnrc.yml .yarn/** .pnp.* .pnpmfile.* pnpmfile.* pnpm-workspace.yaml .bunfig.toml bunfig.toml",
    "Name a shell, a registry, a program or a module that the package manager loads itself.",
    "https://yarnpkg.com/configuration/yarnrc",
  ),
  row(
    "Installed packages of Node.js",
    "node_modules/**",
    "Editors start language servers, linters and formatters from it.",
    "https://code.visualstudio.com/docs/typescript/typescript-compiling",
  ),
  row(
    "Python environments and installers",
    ".venv/** venv/** pyvenv.cfg site-packages/** dist-packages/** sitecustomize.py usercustomize.py pip.conf pip.ini .pip/** .pypirc uv.toml poetry.toml pdm.toml .pdm-python .condarc",
    "Editors start the interpreter that they find; Python runs .pth and sitecustomize files.",
    "https://docs.python.org/3/library/site.html",
  ),
  row(
    "Cargo and rustup",
    ".cargo/** rust-toolchain rust-toolchain.toml",
    "Name a linker, a runner, a wrapper of the compiler, or a whole toolchain.",
    "https://doc.rust-lang.org/cargo/reference/config.html",
  ),
  row(
    "Maven, Gradle, sbt, NuGet",
    ".mvn/** mvnw mvnw.cmd .m2/** gradlew gradlew.bat gradle/wrapper/** gradle.properties .gradle/** .sbtopts .jvmopts .sbt/** nuget.config",
    "Fetched or started on opening a project, before any task of it is asked for.",
    "https://docs.gradle.org/current/userguide/gradle_wrapper.html",
  ),
  row(
    "Bundler, RubyGems, opam, LuaRocks",
    ".bundle/** .gemrc _opam/** .opam/** .luarocks/**",
    "Name sources, folders of programs, and hooks.",
    "https://bundler.io/man/bundle-config.1.html",
  ),
  row(
    "Terraform and Ansible",
    ".terraform/** .terraformrc terraform.rc ansible.cfg .ansible.cfg",
    "Name plugins that are loaded from the folder.",
    "https://docs.ansible.com/ansible/latest/reference_appendices/config.html",
  ),
  row(
    "Debuggers",
    ".gdbinit .gdbearlyinit *-gdb.py *-gdb.gdb *-gdb.scm .lldbinit .lldbinit-* .pdbrc .pdbrc.py .rdbgrc .byebugrc .perldb .radare2rc",
    "Commands that run when a debugger starts in the folder or loads the program.",
    "https://sourceware.org/gdb/current/onlinedocs/gdb.html/Init-File-in-the-Current-Directory.html",
  ),
  row(
    "Interpreters that start in the folder",
    ".irbrc .pryrc .rspec .Rprofile .Renviron .RData .iex.exs .ghci .ocamlinit .erlang .octaverc startup.m .ipython/** ipython_config.py .jupyter/** jupyter_*config.py jupyter_*config.json",
    "Run when the interpreter starts.",
    "https://stat.ethz.ch/R-manual/R-devel/library/base/html/Startup.html",
  ),
  row(
    "Tools of other version control",
    ".p4config p4config.txt .arcconfig .arclint .arcunit .reviewboardrc .gclient .gclient_entries .west/** .hgsub .hgrc .globalrc gtags.conf",
    "Name programs, libraries or Python that the tool loads.",
    "https://www.reviewboard.org/docs/rbtools/latest/rbt/configuration/",
  ),
  row(
    "Programs that Windows prefers to those of the path",
    `${windowsPrograms()} autorun.inf desktop.ini`,
    "The current folder is searched before the path.",
    "https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-createprocessw",
  ),
];

function windowsPrograms(): string {
  const programs = ["git", "ssh", "node", "npm", "npx", "python", "python3", "py", "code", "hg"];
  const endings = ["exe", "com", "bat", "cmd"];
  return programs.flatMap((name) => endings.map((end) => `${name}.${end}`)).join(" ");
}
