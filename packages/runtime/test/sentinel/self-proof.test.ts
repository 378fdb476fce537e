import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadSwitchConfig } from "../../src/home/index.ts";
import { SelfProof, type SelfProofOptions } from "../../src/sentinel/self-proof.ts";

const MINUTE_MS = 60_000;
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "sovereign-self-proof-"));
  mkdirSync(join(home, "scram"));
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(home, { recursive: true, force: true });
});

/** A switch with the settings of a file, the minutes at which it began a proof, and its own clock. */
function switchOf(settings: string): {
  proof: SelfProof;
  begun: number[];
  pass: (n: number) => void;
} {
  writeFileSync(join(home, "config.yaml"), settings);
  const config = loadSwitchConfig(home, (why) => {
    throw new Error(why);
  });
  let ms = 0;
  const clock = { now: () => new Date(ms), monotonicMs: () => ms };
  const begun: number[] = [];
  const paths = {
    readyEngine: () => {
      begun.push(ms / MINUTE_MS);
      return Promise.reject(new Error("no engine in this test"));
    },
  };
  const proof = new SelfProof({
    parts: () => ({ config, clock }),
    paths,
    mayRun: () => true,
    log: () => undefined,
  } as unknown as SelfProofOptions);
  const end = proof.watch();
  const pass = (minutes: number): void => {
    for (let passed = 0; passed < minutes * 4; passed++) {
      ms += MINUTE_MS / 4;
      vi.advanceTimersByTime(MINUTE_MS / 4);
    }
    end();
  };
  return { proof, begun, pass };
}

describe("when the switch proves itself", () => {
  it("every 10 minutes where no configuration says anything else", () => {
    const { proof, begun, pass } = switchOf("");
    expect(proof.report).toMatchObject({ state: "waiting", last: null });
    pass(11);
    expect(begun[0]).toBe(10);
  });

  it("as often as the configuration says", () => {
    const { begun, pass } = switchOf("scram:\n  self_proof_minutes: 3\n");
    pass(4);
    expect(begun[0]).toBe(3);
  });

  it("never where the configuration switches it off, which is said and never overdue", () => {
    const { proof, begun, pass } = switchOf("scram:\n  self_proof_minutes: 0\n");
    pass(100);
    expect(begun).toEqual([]);
    expect(proof.report).toMatchObject({ state: "off" });
  });
});
