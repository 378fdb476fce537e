import { SovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import type { Carriers, QueuePlace } from "../../ledger/index.ts";
import type { CheckedPlan } from "../../planning/index.ts";
import type { SandboxDemands } from "../../sandbox/index.ts";
import { findSkill, secretNames } from "../../skills/index.ts";

/** What a goal needs of whoever carries it out. */
interface Needed {
  readonly role: string;
  readonly steps: CheckedPlan["steps"];
  readonly demands: SandboxDemands;
}

/** What of a node decides who else may carry out what was submitted there. */
type Submitter = Pick<Installation, "node" | "contentPlace"> & {
  readonly config: { readonly scram: Confinement };
};

/** Settings that make a sandbox stronger than runs have by default. */
type Confinement = Pick<
  Installation["config"]["scram"],
  "minimum_level" | "require_memory_controller"
>;

/**
 * Where runs of a node find all that they need, and are confined as on it: named alike by every node on
 * which that is so. Null where no other node is.
 */
export function sharedPlaceOf({
  contentPlace,
  config: { scram },
}: Omit<Submitter, "node">): string | null {
  if (contentPlace === null) return null;
  const level = scram.minimum_level === "G3" ? ["sandbox G3"] : [];
  const memory = scram.require_memory_controller ? ["a memory controller"] : [];
  return [contentPlace, ...level, ...memory].join(", ");
}

/** @param priority from -100 to 100 @throws ERR_REQUEST_INVALID */
export function placeInQueue(installation: Submitter, goal: Needed, priority: number): QueuePlace {
  if (Number.isInteger(priority) && Math.abs(priority) <= 100)
    return { carriers: carriersFor(installation, goal), priority };
  const text = `Expected a priority from -100 to 100, found ${priority}.`;
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}

/** Where a run needs what other nodes may not have, the workers of this data folder alone carry it out. */
function carriersFor(installation: Submitter, { role, steps, demands }: Needed): Carriers {
  const { id } = installation.node;
  const contents = sharedPlaceOf(installation);
  if (contents === null) return { node: id, stays: "its policy and its artifacts" };
  const { minimumLevel, backend } = demands;
  // What every worker makes sure of before it takes runs of other nodes is the default: a policy that
  // asks for less would have as little as each node's settings let it have.
  if (minimumLevel !== "G2" || backend !== "bubblewrap")
    return { node: id, stays: "the sandbox that its policy asks for" };
  for (const step of steps) {
    const stays = staysFor(step);
    if (stays !== null) return { node: id, stays };
  }
  return { contents, role };
}

/** What of a step lies in the data folder; null for nothing. */
function staysFor({ id, skill: name, with: given }: CheckedPlan["steps"][number]): string | null {
  const skill = findSkill(name);
  const [secret] = secretNames(skill, given);
  if (secret !== undefined) return `the secret ${secret}, which the step ${id} needs`;
  if (skill.isOwn) return `the skill of its own that the step ${id} needs`;
  if (skill.model(given) !== null) return `the key of the model that the step ${id} asks`;
  return null;
}

/** Who may carry a run out, for people. */
export function carriersText(carriers: Carriers): string {
  if ("node" in carriers)
    return `those of node ${carriers.node} alone, which has ${carriers.stays}`;
  const { contents, role } = carriers;
  return `those of every data folder with contents in ${contents} and a key of the role ${role}`;
}
