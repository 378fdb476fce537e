import type { ModelWire } from "@sovereign/core";

export type Route =
  | { readonly kind: "call"; readonly wire: ModelWire }
  | { readonly kind: "models" }
  | { readonly kind: "hello" };

const CALLS: Readonly<Record<string, ModelWire>> = {
  "/v1/messages": "anthropic_messages",
  "/v1/messages?beta=true": "anthropic_messages",
  "/v1/messages/count_tokens": "anthropic_count",
  "/v1/messages/count_tokens?beta=true": "anthropic_count",
  "/v1/responses": "openai_responses",
  "/v1/chat/completions": "openai_chat",
};

/** The whole list of what is taken, letter by letter; null for all else. */
export function routeOf(method: string, url: string): Route | null {
  if (method === "POST") {
    const wire = Object.hasOwn(CALLS, url) ? CALLS[url] : undefined;
    return wire === undefined ? null : { kind: "call", wire };
  }
  if (method === "GET" && /^\/v1\/models(\?client_version=[0-9.]{1,20})?$/.test(url)) {
    return { kind: "models" };
  }
  return method === "HEAD" && url === "/api/hello" ? { kind: "hello" } : null;
}

/** Whose shape of errors a path has. */
export function isAnthropic(url: string): boolean {
  return url.startsWith("/v1/messages") || url.startsWith("/api/");
}
