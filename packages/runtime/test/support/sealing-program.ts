import { Store } from "../../src/store/index.ts";
import { itemFor, newStream } from "./entries.ts";
import { testSigner } from "./keys.ts";

/** Writes entries and signs the log's head until it is killed; says so when it has begun. */
const [folder = "", headsFolder = "", log = ""] = process.argv.slice(2);
const store = await Store.open({ folder, headsFolder, databaseUrl: null });
const lanes = Array.from({ length: 3 }, async () => {
  for (;;) {
    await store.commit({ ...itemFor(newStream()), log });
    await store.sealCheckpoint(log, "origin", testSigner);
    process.send?.("signed");
  }
});
await Promise.all(lanes);
