import { issueToTell, meantKey, SovereignError, readFormat } from "@sovereign/core";
import type { z } from "zod";
import { readPlainYaml, type YamlFile } from "../policy/index.ts";
import { type Pipeline, pipelineSchema, type Stage } from "./pipeline-schema.ts";

const DOOR = {
  bytesMax: 256 * 1024,
  tooLarge: "ERR_PIPELINE_TOO_LARGE",
  syntax: "ERR_PIPELINE_SYNTAX",
} as const;

/** What each type of stage leaves for later ones, where its file does not declare it. */
const RESULT_FILE = "result.json";

/**
 * Read a pipeline file: plain YAML, the schema, then every name in it. A stage may only name what
 * stands before it, and a promotion only a model that its agent chain judged.
 *
 * @param bytes untrusted
 * @param path the file's name, for messages; nothing is read from disk
 * @throws ERR_PIPELINE_TOO_LARGE, ERR_PIPELINE_SYNTAX, ERR_PIPELINE_INVALID,
 *   ERR_PIPELINE_REFERENCE; each message starts with `path:line:column`
 */
export function parsePipeline(bytes: Uint8Array, path: string): Pipeline {
  const file = readPlainYaml(bytes, path, DOOR);
  const parsed = readFormat(pipelineSchema, file.value);
  if (!parsed.success) throw invalid(file, parsed.error);
  checkNames(parsed.data, file);
  return parsed.data;
}

/** The names that other stages can refer to as `stage/artifact`. */
export function artifactsOf(stage: Stage): string[] {
  switch (stage.type) {
    case "data_preparation":
    case "model_training":
      return [...stage.outputs, RESULT_FILE];
    case "agent_chain":
      return stage.agents.map((agent) => `${agent.role}.verdict.json`);
    case "promotion":
    case "rollback":
    case "audit_export":
      return [];
  }
}

function checkNames(pipeline: Pipeline, file: YamlFile): void {
  const earlier = new Map<string, Stage>();
  pipeline.stages.forEach((stage, index) => {
    const at = ["stages", index] as const;
    if (earlier.has(stage.name)) {
      throw badReference(file, [...at, "name"], `the name ${stage.name} is taken`);
    }
    const check = new StageCheck(pipeline, stage, earlier, (where, text) =>
      badReference(file, [...at, ...where], `stage ${stage.name}: ${text}`),
    );
    check.run();
    earlier.set(stage.name, stage);
  });
}

type Complain = (where: PropertyKey[], text: string) => SovereignError;

/** The names in one stage, held against the stages before it. */
class StageCheck {
  readonly #pipeline: Pipeline;
  readonly #stage: Stage;
  readonly #earlier: ReadonlyMap<string, Stage>;
  readonly #complain: Complain;

  constructor(
    pipeline: Pipeline,
    stage: Stage,
    earlier: ReadonlyMap<string, Stage>,
    complain: Complain,
  ) {
    this.#pipeline = pipeline;
    this.#stage = stage;
    this.#earlier = earlier;
    this.#complain = complain;
  }

  run(): void {
    const stage = this.#stage;
    if ("inputs" in stage) {
      for (const [name, reference] of Object.entries(stage.inputs)) {
        this.#resolve(reference, ["inputs", name]);
      }
    }
    switch (stage.type) {
      case "data_preparation":
      case "model_training":
        this.#checkOutputs(stage.outputs);
        return;
      case "agent_chain":
        this.#checkAgents(stage.agents);
        this.#checkJudged(stage.judges);
        return;
      case "promotion":
        if (stage.consensus !== "none") this.#checkConsensus(stage.consensus, stage.inputs.model);
        return;
      case "rollback":
        this.#checkRestore(stage.restore, stage.model);
        return;
      case "audit_export":
        return;
    }
  }

  #resolve(reference: string, where: PropertyKey[]): void {
    const [owner = "", artifact = ""] = reference.split("/");
    if (owner === "dataset") {
      const known = this.#pipeline.dataset.descriptor ? ["data", "descriptor"] : ["data"];
      if (known.includes(artifact)) return;
      throw this.#complain(where, `dataset has ${known.join(", ")}; found ${artifact}`);
    }
    const known = artifactsOf(this.#stageBefore(owner, where));
    if (known.includes(artifact)) return;
    const list = known.join(", ") || "no artifacts";
    throw this.#complain(where, `${owner} has ${list}; found ${artifact}`);
  }

  #stageBefore(name: string, where: PropertyKey[]): Stage {
    const found = this.#earlier.get(name);
    if (found !== undefined) return found;
    throw this.#complain(where, `expected an earlier stage, found ${name}`);
  }

  #checkOutputs(outputs: readonly string[]): void {
    outputs.forEach((output, index) => {
      if (output === RESULT_FILE) {
        throw this.#complain(["outputs", index], `${RESULT_FILE} is always there: leave it out`);
      }
      if (outputs.indexOf(output) !== index) {
        throw this.#complain(["outputs", index], `${output} stands twice`);
      }
    });
  }

  #checkAgents(agents: readonly { role: string }[]): void {
    agents.forEach((agent, index) => {
      if (agents.findIndex((other) => other.role === agent.role) !== index) {
        throw this.#complain(["agents", index, "role"], `the role ${agent.role} votes twice`);
      }
    });
  }

  #checkJudged(judges: Readonly<Record<string, string>>): void {
    for (const [name, judged] of Object.entries(judges)) {
      if (!("program" in this.#stageBefore(judged, ["judges", name]))) {
        throw this.#complain(["judges", name], `${judged} runs no program`);
      }
    }
  }

  #checkConsensus(name: string, model: string): void {
    const chain = this.#stageBefore(name, ["consensus"]);
    if (chain.type !== "agent_chain") {
      throw this.#complain(["consensus"], `expected an agent_chain, ${name} is ${chain.type}`);
    }
    if (chain.inputs["model"] !== model) {
      const judged = chain.inputs["model"] ?? "no model";
      throw this.#complain(["inputs", "model"], `${name} judges ${judged}, not ${model}`);
    }
  }

  #checkRestore(name: string, model: string): void {
    const promotion = this.#stageBefore(name, ["restore"]);
    if (promotion.type !== "promotion") {
      throw this.#complain(["restore"], `expected a promotion, ${name} is ${promotion.type}`);
    }
    if (promotion.model !== model) {
      throw this.#complain(["restore"], `${name} promotes ${promotion.model}, not ${model}`);
    }
  }
}

function invalid(file: YamlFile, error: z.ZodError): SovereignError {
  const issue = issueToTell(pipelineSchema, error.issues);
  const at = issue?.path ?? [];
  const place = file.placeOf(
    issue?.code === "unrecognized_keys" ? [...at, issue.keys[0] ?? ""] : at,
  );
  const dotted = at.map(String).join(".");
  const found = (issue?.message ?? "no match") + meantKey(pipelineSchema, issue);
  const text = `${place}: ${dotted === "" ? "" : `${dotted}: `}${found}`;
  return new SovereignError("ERR_PIPELINE_INVALID", text, {
    place,
    path: dotted,
    problems: error.issues.length,
  });
}

function badReference(file: YamlFile, at: PropertyKey[], text: string): SovereignError {
  const place = file.placeOf(at);
  return new SovereignError("ERR_PIPELINE_REFERENCE", `${place}: ${text}`, { place });
}
