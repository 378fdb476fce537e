/** `node make-cluster.ts FOLDER`: the product's own cluster, in FOLDER/pg. For `copyCluster`. */
import { join } from "node:path";
import pg from "pg";
import { ownerConfig, startEmbedded } from "../../src/store/embedded.ts";
import { Store } from "../../src/store/index.ts";

const folder = join(process.argv[2] ?? "", "pg");
const headsFolder = join(process.argv[2] ?? "", "heads");
const store = await Store.open({ folder, headsFolder, databaseUrl: null });
const owner = new pg.Client(ownerConfig(await startEmbedded(folder)));
await owner.connect();
// Each copy makes its own.
await owner.query("delete from sovereign.claim_secret");
await owner.end();
await store.close();
