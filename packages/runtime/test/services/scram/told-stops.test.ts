import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDataFolder } from "../../../src/home/index.ts";
import {
  Journal,
  mendSwitchFolder,
  offlineStatus,
  refusalAt,
  refusalOfWork,
  ScramLatch,
} from "../../../src/scram/index.ts";
import { createServices, type Services } from "../../../src/services/index.ts";
import { closeSockets, contentOf, RUBBISH } from "../../support/rubbish.ts";

/** What those who tell of a stop look at before they tell it, and what lies beside it. */
const PLACES = [
  "config.yaml",
  "installation.json",
  "node.json",
  "keys",
  "ledger",
  "ledger/refused.json",
  "runs",
  "trusted-policies",
  "scram/SETTLED",
  "scram/keys.json",
  "scram/sentinel.sock",
  "scram",
] as const;
/** One of each way in which a look can fail: by waiting, by its size, by what it leads to. */
const KINDS = ["half a file", "a huge file", "a pipe", "a link to an endless device", "a folder"];
const KEPT = RUBBISH.filter(({ name }) => KINDS.includes(name));
const OWNER = { tenant_id: "acme", run_id: "" };
const STOP = {
  event_id: `SCRAM-${"1".repeat(20)}`,
  scope: { kind: "all" },
  reason: "security_breach",
  tripped_at: "2026-01-01T00:00:00.000Z",
} as const;

let home: string;
let scram: string;
let services: Services;
beforeEach(() => {
  home = join(mkdtempSync(join(tmpdir(), "sov-told-")), "home");
  ({ scram } = openDataFolder(home));
  new ScramLatch(scram);
  services = createServices({ PATH: process.env["PATH"], SOVEREIGN_HOME: home });
});
afterEach(() => {
  closeSockets();
  rmSync(dirname(home), { recursive: true, force: true });
});

async function spoil(place: string, make: (typeof RUBBISH)[number]["make"]): Promise<void> {
  const path = join(home, place);
  const before = contentOf(path);
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { recursive: true, force: true });
  await make(path, before);
}

describe.each(PLACES)("with rubbish in the place of %s", (place) => {
  // Another folder in its place is another switch: see the last test.
  const kinds = KEPT.filter(({ name }) => place !== "scram" || name !== "a folder");

  it.each(kinds)("$name: a stop is told, and why nothing runs", async ({ make }) => {
    new ScramLatch(scram).trip(STOP);
    await spoil(place, make);
    const status = await services.scramStatus();
    const health = await services.health();
    expect(health.runner_status).toBe("HALTED");
    expect(health.reason).not.toBeNull();
    if (place !== "scram") {
      expect(status.stops).toMatchObject([{ event_id: STOP.event_id }]);
      expect(health.reason).toBe(STOP.reason);
      expect(health.scram_armed).toBe(false);
    } else {
      // What the stop was lies elsewhere now: then everything is stopped.
      expect(status).toMatchObject({ state: "FAILED", stops: [] });
      expect(status.trouble).toMatch(/and no folder, so nothing runs.*sovereign scram reset/);
    }
    expect(() => {
      services.refuseWhileTripped("acme", null);
    }).toThrow(/The kill switch is/);
  });
});

it("a configuration that cannot be used halts the work, and is named where nothing is stopped", async () => {
  for (const { make } of KEPT) {
    rmSync(join(home, "config.yaml"), { recursive: true, force: true });
    await make(join(home, "config.yaml"), null);
    expect((await services.scramStatus()).state).toBe("ARMED");
    const health = await services.health();
    expect(health).toMatchObject({ runner_status: "HALTED", scram_armed: true });
    expect(health.reason).toContain("config.yaml");
  }
});

describe("a proof of settled stops that cannot be read", () => {
  const kinds = RUBBISH.filter(({ name }) => !/others may|later version/.test(name));

  it.each(kinds)("refuses work at the first look: $name", async ({ make }) => {
    await spoil("scram/SETTLED", make);
    expect(refusalAt(scram, OWNER)).toMatchObject({ code: "ERR_SCRAM_UNREADABLE" });
    expect(offlineStatus(scram).state).toBe("FAILED");
  });
});

describe("a stop whose latch somebody took away", () => {
  it.each([
    [{ kind: "all" }, true],
    [{ kind: "tenant", tenant_id: "acme" }, true],
    [{ kind: "tenant", tenant_id: "other" }, false],
  ] as const)("of %j refuses the work that it covers at the first look", (scope, refused) => {
    const journal = Journal.open(join(scram, "journal.jsonl"));
    journal.append("scram.activated", STOP.tripped_at, { event_id: STOP.event_id, scope });
    const found = refusalOfWork(scram, OWNER);
    if (refused) expect(found).toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
    else expect(found).toBeNull();
    journal.append("scram.reset", STOP.tripped_at, { event_ids: [STOP.event_id] });
    expect(refusalOfWork(scram, OWNER)).toBeNull();
  });

  it.each(RUBBISH.filter(({ name }) => /half|pipe|folder|bytes/.test(name)))(
    "counts as given where the journal is $name",
    async ({ make }) => {
      await spoil("scram/journal.jsonl", make);
      const found = refusalOfWork(scram, OWNER);
      // A line without its end was never acknowledged.
      if (found === null) expect(offlineStatus(scram).state).toBe("ARMED");
      else expect(found).toMatchObject({ code: "ERR_SCRAM_UNREADABLE" });
    },
  );
});

describe("a link in the place of the kill switch's folder", () => {
  const link = (): void => {
    renameSync(scram, `${scram}.moved`);
    symlinkSync(`${scram}.moved`, scram);
  };

  it("is not followed, whatever stands in the folder that it leads to", () => {
    const before = new ScramLatch(scram);
    before.trip({ ...STOP, scope: { kind: "tenant", tenant_id: "other" } });
    expect(before.preflight(OWNER).armed).toBe(true);
    link();
    // Also for one that holds the latch of a folder that became a link since.
    expect(before.preflight(OWNER)).toMatchObject({ armed: false, code: "ERR_SCRAM_UNREADABLE" });
    expect(() => new ScramLatch(scram)).toThrow(/is a symbolic link and no folder/);
    expect(refusalAt(scram, OWNER)).toMatchObject({ code: "ERR_SCRAM_UNREADABLE" });
    expect(offlineStatus(scram)).toMatchObject({ state: "FAILED", stops: [] });
  });

  it("is put aside for a stop and a reset, and what is new begins stopped", () => {
    link();
    mendSwitchFolder(scram);
    expect(new ScramLatch(scram).status()).toMatchObject({ state: "TRIPPED" });
    expect(refusalAt(scram, OWNER)).toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
    expect(offlineStatus(`${scram}.moved`).state).toBe("ARMED");
  });

  it("leaves a folder that is one as it is", () => {
    mendSwitchFolder(scram);
    expect(refusalAt(scram, OWNER)).toBeNull();
  });
});

it("a folder that was taken away from an installation that was used is told as stopped", () => {
  expect(offlineStatus(scram).state).toBe("ARMED");
  mkdirSync(join(home, "ledger/installation.head.json"), { recursive: true });
  rmSync(scram, { recursive: true });
  for (const makes of [false, true]) {
    if (makes) mkdirSync(scram);
    const { state, trouble } = offlineStatus(scram);
    expect(state).toBe("FAILED");
    expect(trouble).toMatch(/is missing or empty.*sovereign scram repair/);
  }
});

it("a data folder that is none is told, and nothing unexpected is thrown", async () => {
  for (const { name, make } of RUBBISH.filter(({ name }) => !/folder/.test(name))) {
    rmSync(home, { recursive: true, force: true });
    await make(home, null);
    await expect(services.scramStatus()).rejects.toThrow(SovereignError);
    // Where a link leads to nothing, nothing was stopped; and nothing can be run.
    if (name !== "a link to nothing") {
      expect(() => {
        services.refuseWhileTripped("acme", null);
      }).toThrow(SovereignError);
    }
    expect(await services.health()).toMatchObject({ runner_status: "UNAVAILABLE" });
    expect(Array.isArray(await services.dataWarnings())).toBe(true);
  }
});
