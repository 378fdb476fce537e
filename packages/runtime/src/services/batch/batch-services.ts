import { realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { SovereignError } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { INSTALLATION_KEYS } from "../../authority/index.ts";
import { parseBatchFile } from "../../batch/index.ts";
import type { Services } from "../services.ts";
import { parsePolicy } from "../../policy/index.ts";
import { folderRefusal, type Settings } from "../../home/index.ts";
import { askedRoles } from "../runs/asked-roles.ts";
import { refuseTools } from "../runs/refuse-tools.ts";
import { enrolFirstUse } from "../runs/first-use.ts";
import type { Opened } from "../opened.ts";
import { SovereignRunner } from "./batch-runner.ts";

/** Batches, and what a monitor asks. */
export function batchServices(
  settings: Settings,
  opened: Opened,
  scram: Pick<Services, "scramStatus">,
): Pick<Services, "runBatch" | "health"> {
  return {
    runBatch: (file, input) =>
      opened(async (installation) => {
        const batch = parseBatchFile(readNamed(file), file);
        const { batch_id, actions, metadata, role } = batch;
        const policyFile = resolve(dirname(file), batch.policy);
        const policy = parsePolicy(readNamed(policyFile), policyFile);
        refuseTools(policy, "batch", policyFile);
        const slots = [...INSTALLATION_KEYS, { purpose: "role", role } as const];
        await installation.keyLog.ensure(installation.keystore, slots);
        const asks = askedRoles(policy);
        await enrolFirstUse(installation, settings, { role, asks }, input);
        const folder = batch.input === undefined ? null : folderOf(dirname(file), batch.input);
        const runner = new SovereignRunner({
          ...input,
          installation,
          policy,
          role,
          input: folder,
          allowCompatible: false,
        });
        return runner.executeBatch(batch_id, { actions, metadata });
      }),
    health: async () => {
      const refused = await folderRefusal(settings.home);
      return SovereignRunner.healthCheck(() => scram.scramStatus(), refused);
    },
  };
}

function folderOf(base: string, path: string): string {
  try {
    return realpathSync(resolve(base, path));
  } catch {
    const text = `The batch's input folder ${path} is not there.`;
    throw new SovereignError("ERR_BATCH_INVALID", text, { path });
  }
}
