/**
 * The engine's program: `node engine.ts FOLDER NAME LEVEL MEMORY SENTINEL_PID`, started by the sentinel with
 * a connection to it as descriptor 3.
 */
import { Socket } from "node:net";
import { join } from "node:path";
import { ControlGroups, Crowd } from "../process/index.ts";
import { Engine, type SandboxLevel, deathCosts, knownCapacity } from "../sandbox/index.ts";
import { ScramLatch } from "../scram/index.ts";

const [, , folder = "", name = "", level = "G2", memory, parent = ""] = process.argv;
process.umask(0o077);
process.chdir(folder);
// The sentinel may have died before the kernel was told to tell us.
if (process.ppid !== Number(parent)) process.exit(1);
const sentinel = new Socket({ fd: 3, readable: true, writable: true });
sentinel.on("close", () => process.kill(process.pid, "SIGKILL"));
const root = ControlGroups.root(name);
const capacity = knownCapacity(folder, root.weighs);
const engine = new Engine({
  name,
  minimumLevel: level as SandboxLevel,
  requireMemoryController: memory === "counted",
  latch: new ScramLatch(folder),
  sentinel,
  mountPoint: join(folder, "rooms"),
  capacity: capacity.paths,
  crowd: new Crowd(root.timeFile),
  costs: deathCosts(capacity.slower),
});
await engine.listen();
