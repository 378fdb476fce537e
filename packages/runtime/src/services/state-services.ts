import { isSovereignError } from "@sovereign/core";
import type { Services } from "./services.ts";
import { dataWarnings, type Environment, openSwitchFolder, Settings } from "../home/index.ts";
import { measuredCapacity, probeSandbox, unboundedMemory } from "../sandbox/index.ts";
import { ScramLatch } from "../scram/index.ts";
import { measureCapacity } from "./scram/measure-capacity.ts";
import type { Opened } from "./opened.ts";

export function stateServices(
  home: string,
  environment: Environment,
  opened: Opened,
  services: Pick<Services, "scramStatus">,
): Pick<Services, "status" | "probeSandbox" | "dataWarnings" | "unboundedMemory"> {
  return {
    dataWarnings: () => dataWarnings(home),
    unboundedMemory,
    status: () =>
      opened(async (installation) => ({
        home,
        database: installation.store.location,
        installation: installation.id,
        scram: (await services.scramStatus()).state,
      })),
    probeSandbox: async (measure, tell) => {
      const { minimum_level } = Settings.of(home, environment).config.scram;
      const report = { ...(await probeSandbox()), minimum_level };
      if (report.level === null) return { ...report, capacity: null, unmeasured: null };
      const { scram } = openSwitchFolder(home);
      new ScramLatch(scram);
      const backends = ["bubblewrap", "container"] as const;
      const usable = backends.slice(0, report.container.level === null ? 1 : 2);
      if (!measure) return { ...report, capacity: measuredCapacity(scram), unmeasured: null };
      try {
        const capacity = await measureCapacity(scram, environment, usable, tell);
        return { ...report, capacity, unmeasured: null };
      } catch (error) {
        if (!isSovereignError(error)) throw error;
        return { ...report, capacity: measuredCapacity(scram), unmeasured: error.message };
      }
    },
  };
}
