import type { ConfigSnapshot } from "@sovereign/core";
import type { Pipeline } from "./pipeline-schema.ts";

/**
 * Who votes in each agent chain, and the limits that they judge by. It is signed before the run
 * begins, so that whoever holds the evidence later cannot leave a voter out.
 */
export function ballotsOf(pipeline: Pipeline): NonNullable<ConfigSnapshot["ballots"]> {
  const chains = pipeline.stages.flatMap((stage) => (stage.type === "agent_chain" ? [stage] : []));
  return Object.fromEntries(
    chains.map((chain) => [
      chain.name,
      {
        electorate: chain.agents.map((agent) => agent.role),
        acceptance: chain.params?.["acceptance"] ?? null,
      },
    ]),
  );
}
