import type { JsonObject, JsonValue } from "@sovereign/core";
import type { z } from "zod";
import type { KeptValues } from "../runs/index.ts";
import type { HostRun } from "./inside/call.ts";

/**
 * What happens when nobody knows whether a step happened. `safe`: doing it twice is as good as once.
 * `with_key`: whoever is called knows the key, and does it once. `unsafe`: it may happen twice.
 */
export type Repeat = "safe" | "with_key" | "unsafe";

/** What a skill has that works in the control process: it opens no connection of its own. */
export interface ControlCall {
  /** Aborts when time is over, the run is cancelled, or the kill switch trips. */
  readonly signal: AbortSignal;
  /** What the tenant keeps between runs. */
  readonly values: KeptValues;
}

/** A vendor as `sovereign models list` names it, and one of its models. */
export interface AskedModel {
  readonly vendor: string;
  readonly model: string;
}

/** What a call of a skill uses, beside its time. */
export interface SkillUse {
  readonly microusd: number;
  readonly tokens: number;
}

const NOTHING_USED: SkillUse = { microusd: 0, tokens: 0 };

/** One thing that a step of a plan can do. */
export interface Skill {
  readonly name: string;
  readonly version: string;
  /** One sentence for people. */
  readonly text: string;
  readonly input: z.ZodType;
  readonly output: z.ZodType;
  /** True where something can be done about it afterwards. */
  readonly reversible: boolean;
  /** True where it calls nobody outside: it has no circuit breaker. */
  readonly local: boolean;
  /** Where in the input secrets may be referred to: names joined by dots, `*` for any. */
  readonly secrets: readonly string[];
  /** How it may be repeated. @param input as the schema gives it */
  repeat(input: JsonObject): Repeat;
  /** What it acts on: what policy is asked about. @param input as the schema gives it */
  resource(input: JsonObject): string;
  /** The most that a call uses, which budgets hold. @param input as the schema gives it */
  most(input: JsonObject): SkillUse;
  /** The hosts that it connects to, as policies name them; none for one without a network. */
  hosts(input: JsonObject): readonly string[];
  /** The model that it asks, through the model proxy; null for one that asks none. */
  model(input: JsonObject): AskedModel | null;
  /** Where it runs: null for the sandbox, in a host with a network if it names hosts. */
  readonly inControl: ((input: JsonObject, call: ControlCall) => Promise<JsonValue>) | null;
  /** True where it is a program that somebody trusted: it runs alone in a sandbox. */
  readonly isOwn: boolean;
}

interface Described<I extends z.ZodType<object>> {
  readonly name: string;
  readonly version: string;
  readonly text: string;
  readonly input: I;
  readonly output: z.ZodType;
  readonly reversible: boolean;
  readonly local?: true;
  readonly repeat: (input: z.infer<I>) => Repeat;
  readonly resource: (input: z.infer<I>) => string;
  /** Absent where it costs nothing of its own. */
  readonly most?: (input: z.infer<I>) => SkillUse;
  readonly hosts?: (input: z.infer<I>) => readonly string[];
  readonly secrets?: readonly string[];
  readonly model?: (input: z.infer<I>) => AskedModel;
}

/** How a skill is written: its functions get the input in the shape of its schema. */
export type SkillDefinition<I extends z.ZodType<object>> = Described<I> &
  (
    | {
        /** Runs in the skill host, a process in the sandbox, which has its file `run.ts` alone. */
        readonly run: HostRun<z.infer<I>>;
      }
    | {
        /** Runs in the control process. For what needs the tenant's own rows, and nothing else. */
        readonly runInControl: (input: z.infer<I>, call: ControlCall) => Promise<JsonValue>;
      }
    | { readonly isOwn: true }
  );

export function defineSkill<I extends z.ZodType<object>>(definition: SkillDefinition<I>): Skill {
  const { name, version, text, input, output, reversible, repeat, resource } = definition;
  const { hosts, secrets = [], model, most, local = false } = definition;
  const inControl = "runInControl" in definition ? definition.runInControl : null;
  const isOwn = "isOwn" in definition;
  // Whoever calls has parsed the input by this skill's own schema.
  return {
    ...{ name, version, text, input, output, reversible, secrets, local, isOwn },
    most: (given) => most?.(given as z.infer<I>) ?? NOTHING_USED,
    repeat: (given) => repeat(given as z.infer<I>),
    resource: (given) => resource(given as z.infer<I>),
    hosts: (given) => hosts?.(given as z.infer<I>) ?? [],
    model: (given) => model?.(given as z.infer<I>) ?? null,
    inControl: inControl && ((given, call) => inControl(given as z.infer<I>, call)),
  };
}
