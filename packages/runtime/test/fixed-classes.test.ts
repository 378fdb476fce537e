import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import * as core from "@sovereign/core";
import * as verify from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import * as api from "../src/index.ts";
import { reachableClasses } from "./support/reachable-classes.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
/** An error is its holder's: nobody of ours reads it again. */
const OWN: readonly string[] = ["SovereignError"];

describe("whatever a program comes to by what the packages export", () => {
  const reachable = reachableClasses();

  it("is of a class that takes no other method, and each object of it neither", async () => {
    const { classes: found } = reachable;
    const names = found.map(({ name }) => name);
    // The walk sees what is exported, what methods return, and what implements an interface.
    expect(names).toEqual(expect.arrayContaining(["Authority", "Store", "LogFeed", "ApiTokens"]));
    const open: string[] = [];
    for (const { name, file, by, freezes } of found) {
      const module = (await import(pathToFileURL(resolve(ROOT, file)).href)) as object;
      // One that its module keeps to itself has no name by which it is changed.
      const one = Reflect.get(module, name) as { prototype: object } | undefined;
      const isFixed = one === undefined || (isFrozen(one) && isFrozen(one.prototype));
      if (!isFixed || (!freezes && !OWN.includes(name))) open.push(`${file}: ${name}, by ${by}`);
    }
    expect(open).toEqual([]);
  });

  // Each is tried with look-alikes in made-objects.test.ts and made-installation.real.test.ts: add yours there.
  it("takes an object that the runtime alone makes where it is looked at, and nowhere else", () => {
    expect(reachable.doors).toEqual([
      "Authority(__0).keystore: Keystore",
      "KeyLog.ensure(keystore): Keystore",
      "KeyLog.initialise(keystore): Keystore",
      "KeyLog.introduce(keystore): Keystore",
      "KeyLog.introduceAll(keystore): Keystore",
      "KeyLog.replace(keystore): Keystore",
      "KeyLog.revoke(keystore): Keystore",
      "KeyLog.rotate(keystore): Keystore",
      "KeyLog.settle(keystore): Keystore",
      "RunRecorder(options).writer: StreamWriter",
      "ScramMember(link): ScramLink",
      "SovereignRunner(options).installation: Installation",
      "connectSandbox(link): ScramLink",
      "createAgentSession(options).installation: Installation",
      // A port: any gate may stand there.
      "createKernel(options).scram: ScramLink",
      "resumeRun(options).installation: Installation",
      "submitPipeline(options).installation: Installation",
    ]);
  });

  it("is no table that can be changed", () => {
    const open: string[] = [];
    for (const [name, one] of Object.entries({ ...core, ...verify, ...api })) {
      if (typeof one !== "function") openParts(one, name, open);
    }
    expect(open).toEqual([]);
  });
});

const { isFrozen } = Object;

/** The schemas are a library's objects: what it has in them is no part of ours. */
function openParts(one: unknown, at: string, open: string[]): void {
  if (typeof one !== "object" || one === null || "_zod" in one) return;
  if (one instanceof Map || one instanceof Set || !isFrozen(one)) open.push(at);
  for (const [name, part] of Object.entries(one)) openParts(part, `${at}.${name}`, open);
}
