import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  dependency,
  dependencyFolders,
  type Found,
  installed,
  namesIn,
  prefixOf,
  programOf,
  realOf,
  settingOf,
  textOf,
  versionFile,
  type Wanted,
} from "./found.ts";
import type { Machine } from "./places.ts";

/** The home folder of commands. */
const INSIDE = "/home/agent";

/** nvm, fnm, asdf, mise, or the `node` of the user's PATH; `node_modules` at any depth. */
export function findNode(machine: Machine): Found {
  const { tree } = machine;
  const version = versionFile(tree, [".nvmrc", ".node-version"]);
  const named = nodeOf(machine, version);
  const prefix = named ?? prefixOf(programOf(machine, "node"));
  const folders = tree === null ? [] : dependencyFolders(tree, "node_modules");
  const isMissing = version !== null && named === null;
  return {
    mounts: [
      ...wholes(prefix),
      ...(tree === null ? [] : folders.map((path) => dependency(tree, path))),
    ],
    path: [
      ...binOf(prefix),
      ...(folders.includes("node_modules") ? ["/workspace/node_modules/.bin"] : []),
    ],
    env: {
      npm_config_offline: "true",
      npm_config_update_notifier: "false",
      COREPACK_ENABLE_NETWORK: "0",
    },
    notes: isMissing
      ? [`node: the repository asks for ${version}, which no version manager has`]
      : [],
  };
}

function nodeOf({ environment, home }: Machine, version: string | null): string | null {
  const places = [
    join(environment["NVM_DIR"] ?? join(home, ".nvm"), "versions/node"),
    join(environment["FNM_DIR"] ?? join(home, ".local/share/fnm"), "node-versions"),
    join(home, ".asdf/installs/nodejs"),
    join(home, ".local/share/mise/installs/node"),
    join(home, ".volta/tools/image/node"),
  ];
  for (const place of places) {
    const found = installed(place, version);
    if (found === null) continue;
    const inner = join(found, "installation");
    return existsSync(inner) ? inner : found;
  }
  return null;
}

/** `.venv` or `venv` with the interpreter that it is of; else pyenv's, or that of the PATH. */
export function findPython(machine: Machine): Found {
  const { tree } = machine;
  const env = {
    // Nothing of these belongs into a commit, and some bring ignore rules of their own.
    PYTHONDONTWRITEBYTECODE: "1",
    PYTEST_ADDOPTS: "-p no:cacheprovider",
    MYPY_CACHE_DIR: "/tmp/mypy",
    RUFF_CACHE_DIR: "/tmp/ruff",
    PYTHONNOUSERSITE: "1",
    PIP_NO_INDEX: "1",
    UV_OFFLINE: "1",
  };
  const venv = [".venv", "venv", "env"].find(
    (name) =>
      tree !== null && !tree.isTracked(name) && existsSync(join(tree.root, name, "pyvenv.cfg")),
  );
  if (tree === null || venv === undefined) {
    const prefix = pythonPrefix(machine);
    return { mounts: wholes(prefix), path: binOf(prefix), env, notes: [] };
  }
  const text = textOf(join(tree.root, venv, "pyvenv.cfg"));
  const version = settingOf(text, "version") ?? settingOf(text, "version_info");
  const base = dirname(settingOf(text, "home") ?? "/usr/bin");
  const isSystem = base === "/" || base.startsWith("/usr");
  if (!isSystem && !isPython(base)) {
    const note = `python: ${venv} is of an interpreter in ${base}, where none is`;
    return { mounts: [], path: [], env, notes: [note] };
  }
  const environment: Wanted = { ...dependency(tree, venv), version };
  return {
    // Its scripts name it by its own path.
    mounts: [
      environment,
      { ...environment, at: join(tree.root, venv) },
      ...(isSystem ? [] : bothNames(base, version)),
    ],
    path: [`/workspace/${venv}/bin`, ...(isSystem ? [] : [`${base}/bin`])],
    env: { ...env, VIRTUAL_ENV: `/workspace/${venv}` },
    notes: [],
    needsTree: true,
  };
}

/** A link, such as the name without a patch number, is seen under both names. */
function bothNames(prefix: string, version: string | null): Wanted[] {
  const real = realOf(prefix) ?? prefix;
  const all = real === prefix ? [prefix] : [prefix, real];
  return all.map((at) => ({ path: real, at, version }));
}

function pythonPrefix(machine: Machine): string | null {
  const { environment, home, tree } = machine;
  const root = environment["PYENV_ROOT"] ?? join(home, ".pyenv");
  const wanted =
    environment["PYENV_VERSION"] ??
    versionFile(tree, [".python-version"]) ??
    (textOf(join(root, "version")).split("\n")[0] || null);
  const pyenv = installed(join(root, "versions"), wanted);
  if (pyenv !== null && isPython(pyenv)) return pyenv;
  const prefix = prefixOf(programOf(machine, "python3"));
  return prefix !== null && isPython(prefix) ? prefix : null;
}

function isPython(prefix: string): boolean {
  return (
    namesIn(join(prefix, "bin")).some((name) => /^python3(\.\d+)?$/.test(name)) &&
    namesIn(join(prefix, "lib")).some((name) => /^python3\.\d+$/.test(name))
  );
}

/** rustup's toolchain, or the `cargo` of the PATH; the crates that cargo has fetched. */
export function findRust(machine: Machine): Found {
  const { environment, home } = machine;
  const cargo = environment["CARGO_HOME"] ?? join(home, ".cargo");
  const program = programOf(machine, "cargo");
  // rustup's own programs only choose a toolchain.
  const isProxy =
    program === null || program.endsWith("/rustup") || program.startsWith(`${cargo}/`);
  const prefix = rustToolchain(machine) ?? (isProxy ? null : prefixOf(program));
  const crates = ["registry", "git"].filter((name) => existsSync(join(cargo, name)));
  return {
    mounts: [
      ...wholes(prefix),
      ...crates.map((name) => seen(join(cargo, name), `${INSIDE}/.cargo/${name}`)),
      ...vendored(machine),
    ],
    path: binOf(prefix),
    env: {
      CARGO_HOME: `${INSIDE}/.cargo`,
      RUSTUP_HOME: `${INSIDE}/.rustup`,
      CARGO_NET_OFFLINE: "true",
    },
    notes:
      prefix === null && program === null ? ["rust: no toolchain of rustup, and no cargo"] : [],
  };
}

function rustToolchain({ environment, home, tree }: Machine): string | null {
  const rustup = environment["RUSTUP_HOME"] ?? join(home, ".rustup");
  const own = tree === null ? "" : textOf(join(tree.root, "rust-toolchain.toml"));
  const wanted =
    environment["RUSTUP_TOOLCHAIN"] ??
    settingOf(own, "channel") ??
    versionFile(tree, ["rust-toolchain"]) ??
    settingOf(textOf(join(rustup, "settings.toml")), "default_toolchain");
  return installed(join(rustup, "toolchains"), wanted);
}

/** The `go` of GOROOT, of the PATH or of the usual places; the modules that it has fetched. */
export function findGo(machine: Machine): Found {
  const { environment, home } = machine;
  const root = goRoot(machine);
  const version = root === null ? null : (textOf(join(root, "VERSION")).split("\n")[0] ?? null);
  const gopath = environment["GOPATH"]?.split(":")[0] ?? join(home, "go");
  const modules = environment["GOMODCACHE"] ?? join(gopath, "pkg/mod");
  const vendor = vendored(machine);
  return {
    mounts: [
      ...(root === null || root.startsWith("/usr/") ? [] : [whole(root, version)]),
      ...(existsSync(modules) ? [seen(modules, `${INSIDE}/go/pkg/mod`)] : []),
      ...vendor,
    ],
    path: binOf(root),
    env: {
      ...(root === null ? {} : { GOROOT: root }),
      GOPATH: `${INSIDE}/go`,
      GOMODCACHE: `${INSIDE}/go/pkg/mod`,
      GOCACHE: "/tmp/go-build",
      GOPROXY: "off",
      GOSUMDB: "off",
      GOTOOLCHAIN: "local",
      GOTELEMETRY: "off",
      GOFLAGS: vendor.length > 0 ? "-mod=vendor" : "-mod=readonly",
    },
    notes: root === null ? ["go: none in GOROOT, the PATH or the usual places"] : [],
  };
}

function goRoot(machine: Machine): string | null {
  const { environment, home } = machine;
  const program = programOf(machine, "go");
  const places = [
    ...(environment["GOROOT"] === undefined ? [] : [environment["GOROOT"]]),
    ...(program === null ? [] : [dirname(dirname(program))]),
    "/usr/local/go",
    ...namesIn(join(home, "sdk")).map((name) => join(home, "sdk", name)),
  ];
  return places.find((place) => existsSync(join(place, "VERSION"))) ?? null;
}

/** JAVA_HOME, or the `java` of the PATH; what Maven and Gradle have fetched. */
export function findJava(machine: Machine): Found {
  const { home } = machine;
  const root = javaHome(machine);
  const version = root === null ? null : settingOf(textOf(join(root, "release")), "JAVA_VERSION");
  const fetched = [
    seen(join(home, ".m2/repository"), `${INSIDE}/.m2/repository`),
    seen(join(home, ".gradle/caches"), GRADLE_CACHES),
  ];
  return {
    mounts: [
      ...(root === null || root.startsWith("/usr/") ? [] : [whole(root, version)]),
      ...debianJava(),
      ...fetched.filter(({ path }) => existsSync(path)),
    ],
    path: binOf(root),
    env: {
      ...(root === null ? {} : { JAVA_HOME: root }),
      MAVEN_ARGS: "--offline --batch-mode",
      // Java asks the system, which knows nobody inside, where its user is at home.
      MAVEN_OPTS: `-Duser.home=${INSIDE} -Dmaven.repo.local=${INSIDE}/.m2/repository`,
      GRADLE_USER_HOME: `${INSIDE}/.gradle`,
      GRADLE_OPTS: `-Duser.home=${INSIDE} -Dorg.gradle.daemon=false -Dorg.gradle.offline=true`,
      GRADLE_RO_DEP_CACHE: GRADLE_CACHES,
    },
    notes: root === null ? ["java: none in JAVA_HOME or the PATH"] : [],
  };
}

const GRADLE_CACHES = "/opt/gradle-caches";

function javaHome(machine: Machine): string | null {
  const named = machine.environment["JAVA_HOME"];
  if (named !== undefined && existsSync(join(named, "release"))) return realOf(named);
  const program = programOf(machine, "java");
  return program === null ? null : dirname(dirname(program));
}

/** Debian's Java and Maven keep files in /etc without which they do not start. */
function debianJava(): Wanted[] {
  const java = namesIn("/etc").filter((name) => /^java-[\w.-]+$/.test(name));
  return [...java, "maven/m2.conf", "maven/logging"]
    .map((name) => `/etc/${name}`)
    .filter((path) => existsSync(path))
    .map((path) => ({ path, at: path, version: null, isSystem: true as const }));
}

function vendored({ tree }: Machine): Wanted[] {
  if (tree === null || tree.isTracked("vendor") || !existsSync(join(tree.root, "vendor")))
    return [];
  return [dependency(tree, "vendor")];
}

function seen(path: string, at: string): Wanted {
  return { path, at, version: null };
}

function wholes(prefix: string | null): Wanted[] {
  return prefix === null ? [] : [whole(prefix, versionIn(prefix))];
}

function binOf(prefix: string | null): string[] {
  return prefix === null ? [] : [`${prefix}/bin`];
}

function whole(path: string, version: string | null): Wanted {
  return { path, at: path, version };
}

/** As the folder's own name says it. */
function versionIn(prefix: string): string | null {
  const names = prefix.split("/").reverse();
  return names.find((name) => /\d\.\d|stable|nightly|beta/.test(name)) ?? null;
}
