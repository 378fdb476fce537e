import { type ModelWire, withoutEnd } from "@sovereign/core";

/** How a vendor wants to be shown its key. */
export type VendorAuth = "x-api-key" | "bearer" | "none";

/** A vendor whose key is open. Only the proxy's own process ever holds one. */
export interface OpenedVendor {
  readonly name: string;
  /** Formats that it answers in. */
  readonly wires: readonly ModelWire[];
  readonly base: URL;
  readonly auth: VendorAuth;
  readonly key: string | null;
  /** How it is told the limit of an answer in Chat Completions. */
  readonly outputField: "max_tokens" | "max_completion_tokens";
}

const PATHS: Readonly<Record<ModelWire, string>> = {
  anthropic_messages: "/v1/messages",
  anthropic_count: "/v1/messages/count_tokens",
  openai_responses: "/responses",
  openai_chat: "/chat/completions",
};

/**
 * Where a vendor is asked. Base URLs of OpenAI's formats end in their version, those of Anthropic's
 * do not; either is taken for either.
 */
export function vendorUrl({ base }: Pick<OpenedVendor, "base">, wire: ModelWire): URL {
  const path = withoutEnd(base.pathname, "/");
  const url = new URL(base);
  if (wire.startsWith("anthropic")) url.pathname = `${path.replace(/\/v1$/, "")}${PATHS[wire]}`;
  else url.pathname = `${path === "" ? "/v1" : path}${PATHS[wire]}`;
  return url;
}
