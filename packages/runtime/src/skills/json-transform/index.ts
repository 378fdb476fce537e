import { fields } from "@sovereign/core";
import { z } from "zod";
import { defineSkill } from "../skill.ts";
import { runJsonTransform } from "./run.ts";

/** Compute a value of another by a JSONata expression, in the sandbox: expressions are programs. */
export const jsonTransform = defineSkill({
  name: "json_transform",
  version: "1.0.0",
  text: "Compute a value of another by a JSONata expression, in the sandbox.",
  input: z.strictObject({
    expression: z.string().min(1).max(10_000),
    data: fields.json.default(null),
  }),
  output: fields.json,
  reversible: true,
  local: true,
  repeat: () => "safe",
  resource: () => "json",
  run: runJsonTransform,
});
