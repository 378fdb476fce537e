import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { ARTIFACT_BYTES_MAX, type ContentStore } from "../runs/index.ts";
import { DurableFiles, newNonce, readRegular, systemEntropy } from "../system/index.ts";

/** Contents in a folder that all nodes mount: `TENANT/DIGEST`, each whole or absent. */
export function folderContents(folder: string, tenant: string): ContentStore {
  const root = join(folder, tenant);
  const files = new DurableFiles(root, () => newNonce(systemEntropy));
  const pathOf = (digest: string): string => join(root, digest.slice(0, 2), digest);
  return {
    put: (digest, bytes) =>
      reached(folder, async () => {
        // Only its own bytes have the name of a digest: who comes second makes it durable, too.
        if ((await files.create(pathOf(digest), bytes)) === "exists") {
          await files.settle(pathOf(digest));
        }
      }),
    get: (digest) => reached(folder, () => readRegular(pathOf(digest), ARTIFACT_BYTES_MAX)),
  };
}

async function reached<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const why = error instanceof Error ? error.message : "unknown";
    const text = `The folder of contents ${folder} cannot be used: ${why}. Mend it, or set content.folder.`;
    throw new SovereignError("ERR_CONTENT_UNAVAILABLE", text, { folder }, error);
  }
}
