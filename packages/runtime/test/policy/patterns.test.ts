import { type Action, type ActionContext, utf8Encode } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseHost } from "../../src/policy/hosts.ts";
import { deniesPath } from "../../src/policy/path-patterns.ts";
import { matchesGlob, PolicyEngine, parsePolicy } from "../../src/policy/index.ts";

const context: ActionContext = {
  tenant_id: "acme",
  run_id: `run_${"a".repeat(20)}`,
  step_id: "step",
  attempt: 1,
  role: "trainer",
  mode: "sovereign",
  config_digest: "0".repeat(64),
  policy_digest: "0".repeat(64),
};

const engineOf = (text: string, path: string): PolicyEngine =>
  new PolicyEngine(parsePolicy(utf8Encode(text), path));
const action = (type: string, resource: string): Action => ({ type, resource, params: {} });
const write = (path: string): Action => action("file.write", path);

describe("paths that are denied", () => {
  const denying = (pattern: string): PolicyEngine =>
    engineOf(
      JSON.stringify({
        policy_id: "p",
        schema_version: "1.0.0",
        allowlist: { file_operations: ["write_file"], paths: ["**"] },
        deny_paths: [pattern],
      }),
      "p.json",
    );

  it.each([
    ["**/.env", ".env"],
    ["**/.env", "a/b/.env"],
    ["**/.env", ".ENV"],
    ["**/*.pem", "key.pem"],
    ["**/*.pem", "deep/key.PEM"],
    ["**/*.pem", "key.pe\u217f"],
    ["./secret.txt", "secret.txt"],
    ["/secret.txt", "secret.txt"],
    ["//secret.txt", "secret.txt"],
    ["secrets/", "secrets/key"],
    ["./secrets/", "secrets/deep/key"],
    ["secrets", "secrets/key"],
    ["**/secrets", "a/secrets/key"],
    ["a//b/./c", "a/b/c"],
    ["Secrets/**", "secrets/key"],
    ["caf\u0065\u0301", "caf\u00e9"],
    ["**/*.pem", "deep/my:key.PEM"],
    ["**/*.pem", "deep/key.PEM:stream"],
    ["secrets/*.pem", "secrets/\u2100.PEM"],
    ["secrets/*.pem", "secrets/a\uff0fb.PEM"],
    ["KEY?", "key\u2026"],
    ["STRA?E", "stra\u00dfe"],
    ["STRA??E", "stra\u00dfe"],
    ["x.Pem?", "X.pem\u00bd"],
    ["\u2764\ufe0f/**", "\u2764/key"],
    ["notes-\u2764\ufe0f.md", "notes-\u2764.MD"],
    ["\u039f\u0394\u039f\u03a3*", "\u03bf\u03b4\u03bf\u03c3\u03b1"],
  ])("%s denies %s", (pattern, path) => {
    // Some of these names are denied as what tools run, too: it is the pattern that is asked for.
    expect(denying(pattern).explain(write(path), context).matched).toContain(`deny:${pattern}`);
    expect(denying(pattern).decide(write(path), context).effect).toBe("deny");
  });

  it.each([
    ["secrets/", "secrets.txt"],
    ["docs/*", "docs/a/b"],
    ["/a", "b/a"],
    ["*.md", "docs/a.md"],
    ["*.pem", "caf\u00e9/key.pem"],
    ["caf?/key", "caf\u00e9/sub/key"],
    ["my:key.pem", "my:other.pem"],
    ["stra?e", "stra\u00df\u00dfe"],
  ])("%s does not deny %s", (pattern, path) => {
    expect(denying(pattern).decide(write(path), context).effect).toBe("allow");
  });

  it("are denied in any spelling, wherever wildcards stand for what was folded", () => {
    const character = fc.constantFrom(
      ...Array.from("aKs.:-\u00df\u00e9\ufb01\u2100\uff0f\u2026\u00bd\u03c3\u2764"),
    );
    const written = fc.array(character, { minLength: 1, maxLength: 6 });
    const wild = fc.array(fc.constantFrom("", "", "?", "*"), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(written, wild, (characters, marks) => {
        const pattern = characters.map((one, at) => marks[at] || one.toUpperCase()).join("");
        return deniesPath(`x/${pattern}q`, `x/${characters.join("")}Q`);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ["docs\\secret", "docs/secret"],
    ["**/*.{pem,key}", "one pattern each"],
    ["!docs/public", "leave out"],
  ])("are not written as %s, which would deny nothing", (pattern, hint) => {
    expect(() => denying(pattern)).toThrow(hint);
  });

  it("and others that can never match are told", () => {
    const policy = {
      policy_id: "p",
      schema_version: "1.0.0",
      allowlist: {
        file_operations: ["write_file"],
        paths: ["/lib/**", "../x", "docs/**", "a?c/**/*.md", "**", ".git/hooks/*", "x."],
        host_run_paths: ["./.vscode/**", "**/.vscode/**"],
      },
      deny_paths: ["/lib/**", "**/.env", "../x"],
      hosts: ["*.example.org", "https://example.org", "example.org:443", "[::1]:*"],
    };
    const { warnings } = parsePolicy(utf8Encode(JSON.stringify(policy)), "p.json");
    expect(warnings.map((text) => /: (.*) can never match/.exec(text)?.[1])).toEqual([
      'allowlist.paths: "/lib/**"',
      'allowlist.paths: "../x"',
      'allowlist.paths: ".git/hooks/*"',
      'allowlist.paths: "x."',
      'allowlist.host_run_paths: "./.vscode/**"',
      'deny_paths: "../x"',
      'hosts: "https://example.org"',
    ]);
  });

  it("match in every mode by the meaning of now, which the digest and the decision tell", () => {
    const decided = denying("**/.env").decide(write("x"), context);
    expect(decided).toMatchObject({ effect: "allow", dialect: 7 });
  });
});

describe("hosts", () => {
  const calling = (...hosts: string[]): PolicyEngine =>
    engineOf(JSON.stringify({ policy_id: "p", schema_version: "1.0.0", hosts }), "p.json");
  const call = (pattern: string, host: string, mode = "enforce"): string => {
    const policy = { policy_id: "p", schema_version: "1.0.0", mode, hosts: [pattern] };
    const one = engineOf(JSON.stringify(policy), "p.json");
    return one.decide(action("http.call", host), context).effect;
  };

  it.each([
    ["*.example.com", "api.example.com"],
    ["*.example.com", "a.b.example.com"],
    ["*.example.com", "API.Example.COM"],
    ["api.example.com", "API.example.com"],
    ["example.com:8443", "example.com:8443"],
    ["example.com:*", "example.com:8443"],
    ["127.0.0.1", "127.0.0.1"],
    ["[::1]:80", "[::1]:80"],
  ])("%s is meant for %s", (pattern, host) => {
    expect(call(pattern, host)).toBe("allow");
  });

  it.each([
    ["*.example.com", "example.com"],
    ["*.example.com", "api.example.com:22"],
    ["example.*", "example.com:22"],
    ["*.example.com", "evil.org:80.example.com"],
  ])("%s is not meant for %s", (pattern, host) => {
    expect(call(pattern, host)).toBe("deny");
  });

  it.each([
    "evil.com#.example.com",
    "evil.com?.example.com",
    "evil.com\\.example.com",
    "evil.com@x.example.com",
    "user@api.example.com",
    "evil.com%2f.example.com",
    "evil.com/.example.com",
    "evil.com .example.com",
    "evil.com\u0000.example.com",
    "evil.com\u3002.example.com",
    "-evil.example.com",
    ".example.com",
    "api..example.com",
    "api.example.com.",
    "api.example.com:0",
    "api.example.com:99999",
    "https://api.example.com",
  ])("%j is no host, in any mode", (host) => {
    for (const pattern of ["*.example.com", "*", "**"]) {
      expect(call(pattern, host)).toBe("deny");
      expect(call(pattern, host, "observe")).toBe("deny");
    }
    expect(() => parseHost(host)).toThrow(expect.objectContaining({ code: "ERR_HOST_REFUSED" }));
    const { reasons } = calling("*").decide(action("http.call", host), context);
    expect(reasons[0]).toContain("is refused: expected a name");
  });
});

describe("patterns", () => {
  it.each([
    ["docs/**", "docs/a/b", true],
    ["docs/*", "docs/a/b", false],
    ["*.ts", "a.ts", true],
    ["a?c", "a/c", false],
    ["**", "", true],
    ["a", "ab", false],
    ["**/*.pem", "key.pem", true],
    ["**/*.pem", "a/b/key.pem", true],
    ["**/.env", ".env", true],
    ["**/.env", "a.env", false],
    ["**/a/**/b", "a/b", true],
    ["**/a/**/b", "x/a/y/z/b", true],
    ["**/a/**/b", "xa/b", false],
    ["a**/b", "ax/y/b", true],
    ["**/**/x", "x", true],
    ["--out=**/x", "--out=x", false],
  ])("%s and %s: %s", (pattern, text, matches) => {
    expect(matchesGlob(pattern, text)).toBe(matches);
  });

  it("stays linear for a pattern made to hang", () => {
    expect(matchesGlob("*a".repeat(100), "a".repeat(2000) + "b")).toBe(false);
  });
});
