import { once } from "node:events";
import { DrillRig } from "../packages/runtime/src/services/index.ts";

/**
 * A control of its own, for whoever measures what its death leaves: names the processes of its
 * installation in one line of JSON, then holds hostile paths until its input ends or it is killed.
 */
const rig = await DrillRig.open({ PATH: process.env["PATH"] });
await rig.link.request({ t: "engine" });
const status = await rig.link.request({ t: "status" });
const { pid, engine, dead_man } = status as { pid: number; engine: number; dead_man: number };
const { home, mark } = rig;
console.log(JSON.stringify({ home, mark, sentinel: pid, engine, "dead-man": dead_man }));
const container = process.env["SCRAM_BACKEND"] === "container";
// Fails whenever what holds them is killed; who measures counts what was there before.
const held = rig
  .hold(6, undefined, container ? { backend: "container" } : {})
  .catch(() => undefined);
await once(process.stdin.resume(), "end");
// Whatever was killed: what is left of the rig must not keep its control.
setTimeout(() => process.exit(1), 10_000).unref();
await rig.close();
await held;
