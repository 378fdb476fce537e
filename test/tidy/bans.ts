/** What the sources do not use, and what they use instead. */
interface Ban {
  readonly name: string;
  readonly pattern: RegExp;
  readonly instead: string;
  /** A line that breaks the ban. */
  readonly example: string;
  /** The modules that are made for it. */
  readonly allowed: RegExp;
}

const NOWHERE = /^$/;

export const BANS: readonly Ban[] = [
  {
    name: "Date.now",
    pattern: /\bDate\.now\(/,
    instead: "an injected Clock",
    example: "const t = Date.now();",
    allowed: NOWHERE,
  },
  {
    name: "new Date()",
    pattern: /\bnew Date\(\)/,
    instead: "an injected Clock",
    example: "const t = new Date();",
    allowed: /system\/clock\.ts$|skills\/inside\/call\.ts$|^bench\//,
  },
  {
    name: "Math.random",
    pattern: /\bMath\.random\b/,
    instead: "injected Entropy",
    example: "const r = Math.random();",
    allowed: NOWHERE,
  },
  {
    name: "raw JSON.parse",
    pattern: /\bJSON\.parse\(/,
    instead: "parseStrictJson or parseCanonicalJson",
    example: "const v = JSON.parse(text);",
    // Programs run alone in a sandbox, without our packages; what they say is parsed again outside. The
    // client package stands alone, and believes the server that it sends its token to.
    allowed:
      /packages\/client\/src\/client\.ts$|core\/src\/json\/|coding\/inside\/acp-client\.ts$|examples\/iron-path\/programs\/lib\/canonical\.ts$|^bench\/|frozen\.ts$|skills\/inside\/[a-z-]+\.ts$/,
  },
  {
    name: "process.env",
    pattern: /\bprocess\.env\b/,
    instead: "configuration passed in from main/",
    example: "const v = process.env.HOME;",
    allowed:
      /runtime\/src\/main\/(cli|sentinel|model-proxy|gateway)\.ts$|^tools\/|^bench\/|^examples\/(agent\/demo|acceptance\/acceptance)\.ts$/,
  },
  {
    name: "console",
    pattern: /\bconsole\.\w+\(/,
    instead: "the CLI's output",
    example: 'console.log("x");',
    allowed: /^tools\/|^bench\/|^examples\//,
  },
  {
    name: "a process of one's own",
    pattern: /(?<![.\w])(?:spawn|spawnSync|execFile|execFileSync|execSync)\(/,
    instead: "startToolRun, which has limits and is within the kill switch's reach",
    example: 'spawn("git", []);',
    allowed: /runtime\/src\/process\/|^tools\/|^bench\/|^examples\//,
  },
  {
    name: "a tool without limits",
    pattern: /\b(?:runTrustedTool|startTrustedTool)\(/,
    instead: "startToolRun; these two are for the embedded database, which records a stop",
    example: 'runTrustedTool("git", "git", [], options);',
    allowed: /runtime\/src\/(?:process|store)\//,
  },
  {
    name: "as any",
    pattern: /\bas any\b/,
    instead: "a real type, or unknown and a check",
    example: "const v = x as any;",
    allowed: NOWHERE,
  },
  {
    name: "silenced compiler or linter",
    pattern: /@ts-(ignore|expect-error|nocheck)|eslint-disable/,
    instead: "code that passes",
    example: "// @ts-ignore",
    allowed: NOWHERE,
  },
  {
    name: "left-over note",
    pattern: /\b(FIXME|TODO|XXX)\b/,
    instead: "the work, or a line in the documentation",
    example: "// FIXME later",
    allowed: NOWHERE,
  },
  {
    name: "export star",
    pattern: /^export \* /,
    instead: "named exports",
    example: 'export * from "./x.ts";',
    allowed: NOWHERE,
  },
];

/** The broken bans of one file, as `path:line: name: use …`. */
export function findBans(path: string, text: string): string[] {
  return text
    .split("\n")
    .flatMap((line, index) =>
      BANS.filter((ban) => ban.pattern.test(line) && !ban.allowed.test(path)).map(
        (ban) => `${path}:${index + 1}: ${ban.name}: use ${ban.instead}`,
      ),
    );
}
