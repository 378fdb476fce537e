import { rmSync } from "node:fs";
import type { JsonObject } from "@sovereign/core";
import {
  ScriptedModel,
  type ScriptedRequest,
  type ScriptedTurn,
} from "../../../../../examples/agent/scripted-model.ts";
import type { ModelDoor } from "../../../src/coding/index.ts";
import type { TestRepository } from "../../executor/support/repository.ts";
import { type Worked, work, type WorkOptions } from "./agent-world.ts";

export interface ScriptedDoor extends ModelDoor {
  /** What was asked; nothing where the door was never opened. */
  requests(): readonly ScriptedRequest[];
}

/** A model that says what it is told to, right behind the sandbox's relay. */
export function scriptedDoor(script: readonly ScriptedTurn[]): ScriptedDoor {
  let model: ScriptedModel | null = null;
  return {
    requests: () => model?.requests ?? [],
    open: async (socket) => {
      const opened = await ScriptedModel.start({ script, key: "of-this-run", socket });
      model = opened;
      return { token: "of-this-run", close: () => opened.close() };
    },
  };
}

/** Has an agent work, and leaves nothing behind. */
export async function workOnce(repository: TestRepository, options: WorkOptions): Promise<Worked> {
  const worked = await work(repository, options);
  rmSync(worked.folder, { recursive: true, force: true });
  return worked;
}

/** Kills our program of such a name, wherever it runs in the sandbox. */
export function killing(program: string): string {
  const words = `tr "\\0" " " <$p/cmdline 2>/dev/null`;
  const found = `${words} | grep -q "^/runtime/node .*/programs/${program}[.]"`;
  // It is dead once a processor has been given to it: a busy machine takes its time.
  const gone = `while ${found}; do sleep 0.1; done`;
  return `for p in /proc/[0-9]*; do ${found} && kill -9 \${p#/proc/} && ${gone}; done`;
}

/** Of all entries of one event. */
export function dataOf({ entries }: Worked, event: string): JsonObject[] {
  return entries.filter((one) => one.event === event).map(({ data }) => data);
}
