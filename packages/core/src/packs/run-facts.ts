import type { EntryData, JsonObject, JsonValue, PlacedEntry } from "../formats/index.ts";
import { consentsIn } from "../keys/index.ts";

/** The name of the artifact that holds what a command of a step said. */
export function commandLogOf(stepId: string): string {
  return `03_executor/logs/${stepId}.log`;
}

/** What the ledger says of a tool's work in one run. */
export interface ToolFacts {
  /** What the tool was asked, the last time; null where nobody came to that. */
  readonly asked: { readonly params: JsonObject; readonly agent: string } | null;
  /** True where that was allowed. */
  readonly began: boolean;
  /** How its work ended, where it ended well. */
  readonly done: { readonly output: JsonObject; readonly wallMs: number } | null;
  readonly calls: ToolCallsMade;
  readonly refusals: readonly ToolRefusal[];
  readonly commands: readonly ToolCommand[];
  /** The messages of the commits that were made, by the step's id. */
  readonly messages: ReadonlyMap<string, string>;
  /** How the result came back; null where nobody was asked for that. */
  readonly back: ToolReturn | null;
}

/** Calls of the model, counted from what each was charged. */
export interface ToolCallsMade {
  readonly ended: number;
  readonly tokens: number;
  readonly microusd: number;
  /** Calls that used tokens and have no known price. */
  readonly unpriced: number;
  /** As the vendor said; null where it said nothing of one of them. */
  readonly usage: { readonly input: number; readonly output: number } | null;
}

export interface ToolRefusal {
  readonly event: string;
  readonly stepId: string;
  readonly code: string;
  readonly reason: string;
}

export interface ToolCommand {
  readonly stepId: string;
  readonly argv: readonly string[];
  /** The word of the request that asked, such as `verify`. */
  readonly kind: string;
  readonly passed: boolean;
}

interface ToolReturn {
  readonly stepUp: boolean;
  readonly approvals: number;
  readonly required: number;
  readonly roles: readonly string[];
  readonly completed: boolean;
}

const REFUSALS = ["denied", "pending", "blocked", "aborted", "killed", "failed"];

/** Read them. @param entries of one run, in their order; each of its event's form */
export function readToolFacts(entries: readonly PlacedEntry[]): ToolFacts {
  const ends = new Map<string, EntryData<"execution.completed">>();
  for (const { entry } of entries) {
    if (entry.event_type !== "execution.completed") continue;
    const data = entry.data as EntryData<"execution.completed">;
    ends.set(`${data.step_id} ${data.attempt}`, data);
  }
  const begun = entries.flatMap(({ entry }) =>
    entry.event_type === "execution.authorized"
      ? [entry.data as EntryData<"execution.authorized">]
      : [],
  );
  const endOf = ({ context }: EntryData<"execution.authorized">) =>
    ends.get(`${context.step_id} ${context.attempt}`);
  const work = begun.findLast((one) => one.action.type === "agent.run");
  const end = work === undefined ? undefined : endOf(work);
  return {
    asked: work === undefined ? deniedOf(entries) : askedOf(work.action),
    began: work !== undefined,
    done: end === undefined ? null : { output: objectOf(end.output), wallMs: end.usage.wall_ms },
    calls: callsOf(entries),
    refusals: refusalsOf(entries),
    commands: commandsOf(begun, (one) => endOf(one) !== undefined),
    messages: messagesOf(begun, (one) => endOf(one) !== undefined),
    back: returnOf(begun, (one) => endOf(one) !== undefined),
  };
}

type Begun = EntryData<"execution.authorized">;
type Ended = (one: Begun) => boolean;

function askedOf({ params, resource }: Begun["action"]): NonNullable<ToolFacts["asked"]> {
  return { params, agent: resource };
}

function deniedOf(entries: readonly PlacedEntry[]): ToolFacts["asked"] {
  const denied = entries.flatMap(({ entry }) =>
    entry.event_type === "execution.denied" ? [entry.data as EntryData<"execution.denied">] : [],
  );
  const found = denied.findLast((one) => one.action.type === "agent.run");
  return found === undefined ? null : askedOf(found.action);
}

function callsOf(entries: readonly PlacedEntry[]): ToolCallsMade {
  const ended = entries.flatMap(({ entry }) =>
    entry.event_type === "llm.called" ? [entry.data as EntryData<"llm.called">] : [],
  );
  const sum = (of: (one: EntryData<"llm.called">) => number): number =>
    ended.reduce((total, one) => total + of(one), 0);
  const told = ended.every((one) => one.usage !== null || one.charged.tokens === 0);
  const usage = {
    input: sum((one) => one.usage?.input ?? 0),
    output: sum((one) => one.usage?.output ?? 0),
  };
  return {
    ended: ended.length,
    tokens: sum((one) => one.charged.tokens),
    microusd: sum((one) => one.charged.microusd ?? 0),
    unpriced: sum((one) => (one.charged.microusd === null && one.charged.tokens > 0 ? 1 : 0)),
    usage: told ? usage : null,
  };
}

function refusalsOf(entries: readonly PlacedEntry[]): ToolRefusal[] {
  return entries.flatMap(({ entry }) => {
    const [noun, past = ""] = entry.event_type.split(".");
    if (noun !== "execution" || !REFUSALS.includes(past)) return [];
    const { step_id: stepId, code, reason } = entry.data as EntryData<"execution.denied">;
    return { event: entry.event_type, stepId, code, reason };
  });
}

/** Of several attempts the last. */
function commandsOf(begun: readonly Begun[], ended: Ended): ToolCommand[] {
  const found = new Map<string, ToolCommand>();
  for (const one of begun) {
    const { action, context } = one;
    if (action.type !== "command.run") continue;
    const { argv, kind } = action.params;
    const words = Array.isArray(argv) ? argv.filter((word) => typeof word === "string") : [];
    found.set(context.step_id, {
      stepId: context.step_id,
      argv: [action.resource, ...words],
      kind: typeof kind === "string" ? kind : "",
      passed: ended(one),
    });
  }
  return [...found.values()];
}

function messagesOf(begun: readonly Begun[], ended: Ended): Map<string, string> {
  const made = begun.filter((one) => one.action.type === "git.commit" && ended(one));
  return new Map(
    made.map(({ action }) => {
      const { message } = action.params;
      return [action.resource, typeof message === "string" ? message : ""];
    }),
  );
}

function returnOf(begun: readonly Begun[], ended: Ended): ToolReturn | null {
  const last = begun.findLast((one) => one.action.type === "git.bring_back");
  if (last === undefined) return null;
  const { decision } = last;
  return {
    stepUp: decision.effect === "step_up",
    approvals: consentsIn(last),
    required: decision.approvals?.required ?? 0,
    roles: decision.approvals?.roles ?? [],
    completed: ended(last),
  };
}

function objectOf(value: JsonValue): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}
