/**
 * The model proxy's program: `node model-proxy.ts HOME SOCKET`, started by a control with a connection
 * to it as descriptor 3. It alone opens the vendors' keys.
 */
import { Socket } from "node:net";
import { join } from "node:path";
import { runModelProxy, VendorStore } from "../agents/index.ts";
import { openSwitchFolder, Settings } from "../home/index.ts";
import { ScramLatch } from "../scram/index.ts";

const [, , home = "", socket = ""] = process.argv;
const settings = Settings.of(home, process.env);
process.umask(0o077);
const folder = openSwitchFolder(home);
const control = new Socket({ fd: 3, readable: true, writable: true });
await runModelProxy({
  control,
  socket,
  gate: new ScramLatch(folder.scram),
  openVendor: (name) =>
    new VendorStore(join(folder.root, "models"), settings.passphrase).open(name),
});
process.exit(0);
