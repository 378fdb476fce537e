/**
 * The program of the gateway of skills: `node gateway.ts HOME SOCKET`, started by a control with a
 * connection to it as descriptor 3. It alone opens the secrets of tenants.
 */
import { Socket } from "node:net";
import { join } from "node:path";
import { SecretStore } from "../agents/index.ts";
import { runGateway } from "../gateway/index.ts";
import { openSwitchFolder, Settings } from "../home/index.ts";
import { ScramLatch } from "../scram/index.ts";

const [, , home = "", socket = ""] = process.argv;
const settings = Settings.of(home, process.env);
process.umask(0o077);
const folder = openSwitchFolder(home);
const control = new Socket({ fd: 3, readable: true, writable: true });
await runGateway({
  control,
  socket,
  gate: new ScramLatch(folder.scram),
  openSecret: (tenant, name) =>
    new SecretStore(join(folder.root, "secrets"), tenant, settings.passphrase).open(name),
});
process.exit(0);
