import { canonicalBytes, fields, SovereignError } from "@sovereign/core";
import { z } from "zod";
import { defineSkill } from "../skill.ts";

const VALUE_BYTES_MAX = 16 * 1024;

const key = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}$/,
    "expected 1 to 200 of A-Z a-z 0-9 _ . : / -, starting with a letter or a digit",
  );

/** Keep a tenant's values between runs. Whoever reads one gets what was kept last. */
export const kvStore = defineSkill({
  name: "kv_store",
  version: "1.0.0",
  text: "Keep, read or delete a value of the tenant.",
  input: z.discriminatedUnion("operation", [
    z.strictObject({ operation: z.literal("get"), key }),
    z.strictObject({ operation: z.literal("put"), key, value: fields.json }),
    z.strictObject({ operation: z.literal("delete"), key }),
  ]),
  output: z.strictObject({ found: z.boolean(), value: fields.json }),
  reversible: true,
  local: true,
  repeat: () => "safe",
  resource: ({ key: name }) => name,
  runInControl: async (asked, { values }) => {
    if (asked.operation === "get") {
      const value = await values.get(asked.key);
      return { found: value !== undefined, value: value ?? null };
    }
    const value = asked.operation === "put" ? asked.value : undefined;
    if (value !== undefined && canonicalBytes(value).length > VALUE_BYTES_MAX) {
      const text = `kv_store: a value has at most ${VALUE_BYTES_MAX} bytes`;
      throw new SovereignError("ERR_SKILL_INPUT", text);
    }
    await values.put(asked.key, value);
    return { found: value !== undefined, value: null };
  },
});
