import type { ApiCaller, JsonObject, VerificationReport } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { afterEach, describe, expect, it } from "vitest";
import { EvidenceWorld, RUN } from "../support/evidence.ts";
import { Forgery } from "../support/forger.ts";

const CALLER: ApiCaller = {
  door: "http",
  issuer: "https://id.example.org",
  subject: "ada",
  scopes: ["runs:write"],
};

let made: EvidenceWorld | null = null;
afterEach(() => {
  made?.dispose();
  made = null;
});

/** A run that was submitted over the network or not, in whose first entry somebody changed that. */
async function judged(
  caller: ApiCaller | undefined,
  change: (data: JsonObject) => void,
): Promise<VerificationReport> {
  const own = caller === undefined ? {} : { caller };
  const world = await EvidenceWorld.create("sovereign", RUN, 0, undefined, own);
  made = world;
  const one = new Forgery(await world.bundle(), (purpose, role) =>
    world.world.authority.signer(purpose, role),
  );
  change(one.at(0).entry.data);
  await one.rebuild();
  return verifyBundle(one.bytes(), { trustRoot: world.trustRoot() });
}

const FAILURE = {
  place: "entries[0]",
  message: "The caller is not the one of the signed configuration.",
};

describe("the caller of a run", { timeout: 60_000 }, () => {
  it.each([CALLER, undefined])("is VALID where the configuration has the same", async (caller) => {
    expect((await judged(caller, () => undefined)).verdict).toBe("VALID");
  });

  it.each([
    ["is another", CALLER, { ...CALLER, subject: "eve" }],
    ["has more scopes", CALLER, { ...CALLER, scopes: ["runs:read", "runs:write"] }],
    ["is made up", undefined, CALLER],
  ])("is INVALID where it %s", async (_, caller, said) => {
    const report = await judged(caller, (data) => {
      data["caller"] = said;
    });
    expect(report.verdict).toBe("INVALID");
    const trace = report.steps.find(({ name }) => name === "policy_resolution_trace");
    expect(trace?.first_failure).toMatchObject(FAILURE);
  });
});
