import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type KeptSession, SessionKeeper } from "../../src/coding/kept-session.ts";

const DIGEST = "0".repeat(64);
const OUTSIDE = "/etc";

let folder: string;
let kept: KeptSession;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-kept-"));
  const root = join(folder, "tree");
  mkdirSync(root);
  kept = { agent: "claude", program_sha256: DIGEST, session: "s1", root };
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const keeper = (): SessionKeeper => new SessionKeeper(folder, ["projects"]);
const find = (): Promise<KeptSession | null> => keeper().find("claude", DIGEST);

/** An attempt that was killed: its conversation, and settings that its agent wrote for itself. */
async function interrupted(): Promise<string> {
  await keeper().begin();
  const { state } = keeper();
  mkdirSync(join(state, "projects"));
  mkdirSync(join(state, "plugins"));
  writeFileSync(join(state, "settings.json"), "{}");
  keeper().keep(kept);
  return state;
}

describe("the conversation of an attempt that was killed", () => {
  it("is found, and of its folder nothing but the conversation", async () => {
    const state = await interrupted();
    symlinkSync(OUTSIDE, join(state, "link"));
    expect(await find()).toEqual(kept);
    expect(readdirSync(state)).toEqual(["projects"]);
    expect(existsSync(join(OUTSIDE, "passwd"))).toBe(true);
  });

  it.each<[string, (state: string) => void]>([
    [
      "its file is half a file",
      () => {
        rewrite('{"agent":"cla');
      },
    ],
    [
      "its file is rubbish",
      () => {
        rewrite("\u0000\u0001");
      },
    ],
    [
      "its file is empty",
      () => {
        rewrite("");
      },
    ],
    [
      "its file has a field more",
      () => {
        rewrite(JSON.stringify({ ...kept, sudo: true }));
      },
    ],
    [
      "it is of another agent",
      () => {
        rewrite(JSON.stringify({ ...kept, agent: "codex" }));
      },
    ],
    [
      "it is of another program",
      () => {
        rewrite(JSON.stringify({ ...kept, program_sha256: "1".repeat(64) }));
      },
    ],
    [
      "its name is an option",
      () => {
        rewrite(JSON.stringify({ ...kept, session: "--yolo" }));
      },
    ],
    [
      "its name is a path",
      () => {
        rewrite(JSON.stringify({ ...kept, session: "../../x" }));
      },
    ],
    [
      "its tree is gone",
      () => {
        rmSync(kept.root, { recursive: true });
      },
    ],
    [
      "its tree is a link",
      () => {
        rmSync(kept.root, { recursive: true });
        symlinkSync(OUTSIDE, kept.root);
      },
    ],
    [
      "its folder is a link",
      (state) => {
        rmSync(state, { recursive: true });
        symlinkSync(OUTSIDE, state);
      },
    ],
    [
      "the conversation is a link",
      (state) => {
        rmSync(join(state, "projects"), { recursive: true });
        symlinkSync(OUTSIDE, join(state, "projects"));
      },
    ],
    [
      "the conversation is a pipe",
      (state) => {
        rmSync(join(state, "projects"), { recursive: true });
        execFileSync("mkfifo", [join(state, "projects")]);
      },
    ],
  ])("is none where %s", async (_what, spoil) => {
    spoil(await interrupted());
    expect(await find()).toBeNull();
    expect(existsSync(join(OUTSIDE, "passwd"))).toBe(true);
  });

  it.each(["--resume", "a b", "", "x".repeat(101), "../x", "a\nb", "é"])(
    "is not kept under the name %j",
    async (session) => {
      await keeper().begin();
      keeper().keep({ ...kept, session });
      expect(await find()).toBeNull();
    },
  );

  it("begins in an empty folder, whatever an agent left there", async () => {
    const state = await interrupted();
    rmSync(state, { recursive: true });
    symlinkSync(OUTSIDE, state);
    await keeper().begin();
    expect(readdirSync(state)).toEqual([]);
    expect(existsSync(join(OUTSIDE, "passwd"))).toBe(true);
    expect(await find()).toBeNull();
  });
});

function rewrite(text: string): void {
  writeFileSync(join(folder, "session.json"), text, { mode: 0o600 });
}
