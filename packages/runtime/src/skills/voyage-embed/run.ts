import { createHash } from "node:crypto";
import { addressBelow } from "../inside/address.ts";
import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";
import { readJson, readText } from "../inside/plain-json.ts";

export interface VoyageInput {
  readonly base_url: string;
  readonly model: string;
  readonly texts: readonly string[];
  readonly input_type: "query" | "document" | null;
  readonly output_dimension?: number | undefined;
  readonly api_key: string;
}

/** What stands in the ledger; what is larger is an artifact alone. */
const INLINE_BYTES_MAX = 12 * 1024;

/** @see the contract of Voyage AI's `POST /v1/embeddings` */
export async function runVoyageEmbed(input: VoyageInput, call: HostCall): Promise<HostEnd> {
  const { base_url: base, api_key: key, model, texts, input_type, output_dimension } = input;
  const asked = {
    ...{ input: texts, model, input_type },
    ...(output_dimension === undefined ? {} : { output_dimension }),
  };
  const { status, bytes } = await call.http({
    url: addressBelow(base, "embeddings"),
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: Buffer.from(JSON.stringify(asked)),
    isUnsafe: false,
  });
  if (status !== 200) throw new SkillFailure(`Voyage answered ${status}${hintOf(status)}`);
  const { embeddings, tokens } = readAnswer(bytes, texts.length);
  const file = Buffer.from(JSON.stringify(embeddings));
  const value = {
    model,
    count: embeddings.length,
    dimensions: embeddings[0]?.length ?? 0,
    total_tokens: tokens,
    sha256: createHash("sha256").update(file).digest("hex"),
    embeddings: file.length <= INLINE_BYTES_MAX ? embeddings : null,
  };
  return { value, keep: [{ name: "embeddings.json", type: "application/json", bytes: file }] };
}

function hintOf(status: number): string {
  if (status === 401) return ": the key is not accepted";
  if (status === 429) return ": too many requests or tokens for now";
  return "";
}

interface Row {
  readonly index?: unknown;
  readonly embedding?: unknown;
}

/** In the order of the texts, whatever the order of the answer. */
function readAnswer(bytes: Uint8Array, count: number): { embeddings: number[][]; tokens: number } {
  const answer = (readJson(readText(bytes) ?? "") ?? {}) as {
    readonly data?: unknown;
    readonly usage?: { readonly total_tokens?: unknown };
  };
  const rows = Array.isArray(answer.data) ? (answer.data as (Row | null)[]) : [];
  const tokens = answer.usage?.total_tokens;
  const embeddings = Array.from({ length: count }, (_, at): number[] => {
    const found = rows.find((row) => row?.index === at)?.embedding;
    return isVector(found) ? found : [];
  });
  const isCount = typeof tokens === "number" && Number.isSafeInteger(tokens) && tokens >= 0;
  if (isCount && rows.length === count && areAlike(embeddings)) return { embeddings, tokens };
  throw new SkillFailure("Voyage gave no answer of its contract");
}

function areAlike(vectors: readonly (readonly number[])[]): boolean {
  const length = vectors[0]?.length ?? 0;
  return length > 0 && vectors.every((one) => one.length === length);
}

function isVector(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((one) => typeof one === "number");
}
