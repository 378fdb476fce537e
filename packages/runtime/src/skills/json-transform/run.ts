import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";
import { readJson } from "../inside/plain-json.ts";

interface Expression {
  evaluate(data: unknown): Promise<unknown>;
}

/** Expressions are programs: they run in the sandbox, in a host without a network. */
export async function runJsonTransform(
  { expression, data }: { readonly expression: string; readonly data: unknown },
  call: HostCall,
): Promise<HostEnd> {
  const jsonata = call.library("jsonata") as (text: string) => Expression;
  // What it gives may have functions and other things that are no JSON: those are left out.
  const value: unknown = await jsonata(expression).evaluate(data);
  const plain = readJson(JSON.stringify(value ?? null));
  if (plain !== undefined) return { value: plain };
  throw new SkillFailure("the expression gives no plain JSON");
}
