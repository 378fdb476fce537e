import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkPlan, parsePlan } from "../../src/planning/index.ts";
import { OwnSkills, pinTo, readOwnFolder } from "../../src/skills/index.ts";
import { ANY_OBJECT, COUNT, COUNTS, WORD_COUNT, writeOwnSkill } from "../support/own-skill.ts";

const AT = "2026-01-01T00:00:00.000Z";

let folder: string;
let source: string;
let skills: OwnSkills;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-own-"));
  source = writeOwnSkill(join(folder, "source"), WORD_COUNT, {
    "main.mjs": COUNTS,
    "lib/count.mjs": COUNT,
  });
  skills = new OwnSkills(join(folder, "skills"), "acme");
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const code = (one: string): object => expect.objectContaining({ code: one }) as object;
const trust = (): string => {
  const read = readOwnFolder(source);
  skills.add(read, AT);
  return read.digest;
};
const copy = (): string => skills.open("word_count").folder;

describe("a skill's folder", () => {
  it("is read whole, and its digest is over paths, bytes and what can be executed", () => {
    const { digest, manifest, files } = readOwnFolder(source);
    expect(files.map(({ path }) => path)).toEqual(["lib/count.mjs", "main.mjs", "skill.yaml"]);
    expect(manifest).toMatchObject({ name: "word_count", host: null, secrets: [] });
    const digests = new Set([digest]);
    chmodSync(join(source, "main.mjs"), 0o755);
    digests.add(readOwnFolder(source).digest);
    appendFileSync(join(source, "lib/count.mjs"), " ");
    digests.add(readOwnFolder(source).digest);
    writeFileSync(join(source, "lib/more.mjs"), "");
    digests.add(readOwnFolder(source).digest);
    expect(digests.size).toBe(4);
  });

  it.each<[string, () => void, RegExp]>([
    [
      "that has a link to a file",
      () => {
        symlinkSync("/etc/passwd", at("a"));
      },
      /a link, which leads/,
    ],
    [
      "that has a link to a folder",
      () => {
        symlinkSync("/etc", at("lib/etc"));
      },
      /a link, which leads/,
    ],
    [
      "without a manifest",
      () => {
        rmSync(at("skill.yaml"));
      },
      /expected skill.yaml/,
    ],
    [
      "whose manifest is a link",
      () => {
        relink();
      },
      /a link, which leads/,
    ],
    [
      "with a name that shows nothing",
      () => {
        writeFileSync(at("a\u001b[2J"), "");
      },
      /expected a name/,
    ],
    [
      "with too many folders in another",
      () => {
        deep();
      },
      /at most 8 folders/,
    ],
    [
      "with too many files",
      () => {
        many();
      },
      /at most 256 files/,
    ],
    [
      "that is too large",
      () => {
        writeFileSync(at("big"), Buffer.alloc(9 * 2 ** 20));
      },
      /at most/,
    ],
  ])("%s is not taken", (_, damage, message) => {
    damage();
    expect(() => readOwnFolder(source)).toThrow(code("ERR_SKILL_MANIFEST"));
    expect(() => readOwnFolder(source)).toThrow(message);
  });

  const at = (path: string): string => join(source, path);
  const relink = (): void => {
    rmSync(at("skill.yaml"));
    writeFileSync(join(folder, "else.yaml"), JSON.stringify(WORD_COUNT));
    symlinkSync(join(folder, "else.yaml"), at("skill.yaml"));
  };
  const deep = (): void => {
    mkdirSync(at("a/b/c/d/e/f/g/h/i/j"), { recursive: true });
  };
  const many = (): void => {
    for (let one = 0; one < 260; one++) writeFileSync(at(`f${one}`), "");
  };

  it.each<[string, object, RegExp]>([
    ["a program outside", { command: ["../main.mjs"] }, /in the skill's folder/],
    ["a program anywhere", { command: ["/bin/sh", "-c", "id"] }, /in the skill's folder/],
    [
      "a word that leads outside",
      { command: ["node", "lib/../../x.mjs"] },
      /in the skill's folder/,
    ],
    ["a program that is not there", { command: ["./gone"] }, /no file of the skill's folder/],
    ["no program", { command: [] }, /command/],
    ["a name of another form", { name: "../x" }, /name/],
    ["a text that moves a terminal", { text: "a\u001b[2Jb" }, /text/],
    ["a host that is none", { host: "evil.example.org/#" }, /host/],
    ["secrets for no host", { secrets: ["key"] }, /names no host/],
    ["a place of a secret that is none", { host: "a.org", secrets: ["a.b.c.d"] }, /secrets/],
    ["a schema that is none", { input: { type: "what" } }, /JSON Schema/],
    ["a field more", { network: "all" }, /network/],
  ])("whose manifest names %s is not taken", (_, change, message) => {
    writeFileSync(join(source, "skill.yaml"), JSON.stringify({ ...WORD_COUNT, ...change }));
    expect(() => readOwnFolder(source)).toThrow(code("ERR_SKILL_MANIFEST"));
    expect(() => readOwnFolder(source)).toThrow(message);
  });
});

describe("a skill that is trusted", () => {
  it("is a copy: what becomes of the folder does not matter to it", () => {
    const digest = trust();
    rmSync(source, { recursive: true });
    expect(skills.open("word_count", digest)).toMatchObject({ digest });
    expect(skills.list().map(({ manifest }) => manifest.name)).toEqual(["word_count"]);
    expect(statSync(join(folder, "skills/acme")).mode & 0o777).toBe(0o700);
  });

  it.each<[string, () => void]>([
    [
      "a byte more in a file",
      () => {
        appendFileSync(join(copy(), "main.mjs"), " ");
      },
    ],
    [
      "a file more",
      () => {
        writeFileSync(join(copy(), "more.mjs"), "");
      },
    ],
    [
      "a file less",
      () => {
        rmSync(join(copy(), "lib/count.mjs"));
      },
    ],
    [
      "a file that can be executed now",
      () => {
        chmodSync(join(copy(), "main.mjs"), 0o755);
      },
    ],
    [
      "a link",
      () => {
        symlinkSync("/etc/passwd", join(copy(), "passwd"));
      },
    ],
    [
      "no folder",
      () => {
        rmSync(copy(), { recursive: true });
      },
    ],
    [
      "another manifest",
      () => {
        writeFileSync(join(copy(), "skill.yaml"), "{}");
      },
    ],
    [
      "a record of another digest",
      () => {
        rerecord(/[0-9a-f]{64}/, "0".repeat(64));
      },
    ],
    [
      "a record of another tenant",
      () => {
        rerecord("acme", "globex");
      },
    ],
    [
      "a record that is none",
      () => {
        rerecord(/^/, "x");
      },
    ],
  ])("is refused with %s", (_, damage) => {
    trust();
    damage();
    expect(() => skills.open("word_count")).toThrow(code("ERR_SKILL_CHANGED"));
  });

  function rerecord(from: string | RegExp, to: string): void {
    const path = join(folder, "skills/acme/word_count.skill.json");
    writeFileSync(path, readFileSync(path, "utf8").replace(from, to));
  }

  it("is another one after it was trusted again, and the first is gone", () => {
    const first = trust();
    appendFileSync(join(source, "main.mjs"), "// more");
    const second = trust();
    expect(second).not.toBe(first);
    expect(() => skills.open("word_count", first)).toThrow(code("ERR_SKILL_CHANGED"));
    expect(skills.open("word_count", second)).toMatchObject({ digest: second });
    const kept = readdirSync(join(folder, "skills/acme"));
    expect(kept.sort()).toEqual([`word_count-${second}`, "word_count.skill.json"]);
  });

  it("is nothing to another tenant, and nothing after it was removed", () => {
    trust();
    const other = new OwnSkills(join(folder, "skills"), "globex");
    expect(() => other.open("word_count")).toThrow(code("ERR_SKILL_UNKNOWN"));
    expect(() => skills.open("../acme/word_count")).toThrow(code("ERR_SKILL_UNKNOWN"));
    skills.remove("word_count");
    expect(() => skills.open("word_count")).toThrow(code("ERR_SKILL_UNKNOWN"));
    expect(readdirSync(join(folder, "skills/acme"))).toEqual([]);
    expect(() => {
      skills.remove("word_count");
    }).toThrow(code("ERR_SKILL_UNKNOWN"));
  });
});

describe("a plan with a skill of one's own", () => {
  const check = (given: object): ReturnType<typeof checkPlan> =>
    checkPlan(
      parsePlan({ steps: [{ id: "one", skill: "own", with: given }] }, "plan"),
      undefined,
      pinTo(skills),
    );

  it("names the digest of what is trusted, whether its author wrote it or not", () => {
    const digest = trust();
    const given = { name: "word_count", input: { text: "a b" } };
    expect(check(given).steps[0]?.with).toEqual({ ...given, digest });
    expect(check({ ...given, digest }).steps[0]?.with).toEqual({ ...given, digest });
  });

  it.each<[string, object, string]>([
    ["a skill that nobody trusted", { name: "other" }, "ERR_SKILL_UNKNOWN"],
    ["a name that is looked up", { name: "${{ inputs.x }}" }, "ERR_SKILL_UNKNOWN"],
    ["no name", {}, "ERR_SKILL_UNKNOWN"],
    ["a name that is no text", { name: 1 }, "ERR_SKILL_INPUT"],
    ["another digest", { name: "word_count", digest: "0".repeat(64) }, "ERR_SKILL_CHANGED"],
    ["a host that the manifest does not name", { ...GOOD(), host: "a.org" }, "ERR_SKILL_INPUT"],
    ["an input that it does not take", { name: "word_count", input: { t: 1 } }, "ERR_SKILL_INPUT"],
    ["a secret where it takes none", GOOD("${{ secrets.A }}"), "ERR_PLAN_REFERENCE"],
  ])("is refused for %s", (_, given, expected) => {
    trust();
    expect(() => check(given)).toThrow(code(expected));
  });

  it("takes secrets where the manifest says, for the manifest's host", () => {
    const manifest = { ...WORD_COUNT, host: "API.example.org:443", secrets: ["text"] };
    writeFileSync(join(source, "skill.yaml"), JSON.stringify({ ...manifest, output: ANY_OBJECT }));
    trust();
    expect(check(GOOD("${{ secrets.A }}")).steps[0]?.with).toMatchObject({
      host: "api.example.org",
    });
  });
});

function GOOD(text = "a b"): object {
  return { name: "word_count", input: { text } };
}
