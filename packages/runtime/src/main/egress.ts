/**
 * The egress proxy's program: `node egress.ts HOME SOCKET`, started by a control with a connection to
 * it as descriptor 3. It holds no key, and opens no file but the kill switch's state.
 */
import { Socket } from "node:net";
import { runEgress } from "../agents/index.ts";
import { openSwitchFolder } from "../home/index.ts";
import { ScramLatch } from "../scram/index.ts";

const [, , home = "", socket = ""] = process.argv;
process.umask(0o077);
const folder = openSwitchFolder(home);
const control = new Socket({ fd: 3, readable: true, writable: true });
await runEgress({ control, socket, gate: new ScramLatch(folder.scram) });
process.exit(0);
