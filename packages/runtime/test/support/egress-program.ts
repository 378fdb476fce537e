/**
 * The egress proxy's program, for hosts of tests: whatever a name is, it leads to this machine.
 * `node egress-program.ts HOME SOCKET`, with a connection to the control as descriptor 3.
 */
import { Socket } from "node:net";
import { join } from "node:path";
import { runEgress } from "../../src/agents/index.ts";
import { ScramLatch } from "../../src/scram/index.ts";

const [, , home = "", socket = ""] = process.argv;
const control = new Socket({ fd: 3, readable: true, writable: true });
await runEgress({
  control,
  socket,
  gate: new ScramLatch(join(home, "scram")),
  resolver: () => Promise.resolve(["127.0.0.1"]),
  allowed: (address) => address === "127.0.0.1",
});
process.exit(0);
