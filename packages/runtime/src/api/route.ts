import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { type ApiScope, type ErrorCode, parseFormat } from "@sovereign/core";
import type { z } from "zod";
import type { ApiIdentity, ApiServices } from "../services/index.ts";

/** A request whose caller is known, and nothing else of it is believed. */
export interface RawRequest {
  readonly params: unknown;
  readonly query: unknown;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

/** What is answered: JSON, bytes, or a stream that writes itself. */
export type Reply =
  | { readonly status: number; readonly json: unknown }
  | {
      readonly status: number;
      readonly bytes: Uint8Array;
      readonly type: string;
      /** What a browser would save it as. */
      readonly file: string;
    }
  | { readonly status: 204 }
  | { readonly stream: (to: ServerResponse) => Promise<void> };

/** What is answered with 200. */
export const ok = (schema: z.ZodType, text: string): Readonly<Record<number, Answered>> => ({
  200: { text, schema },
});
export const json = (value: unknown, status = 200): Reply => ({ status, json: value });

/** Who asks, and how it is seen that they still may. */
export type Caller = ApiIdentity & {
  /** What limits are counted by: the token, or the subject, however many tokens it has. */
  readonly name: string;
  /** False once the token was revoked or has expired. */
  stillCounts(): Promise<boolean>;
};

interface Asked<P, Q, H, B> {
  readonly services: ApiServices;
  readonly caller: Caller;
  readonly params: P;
  readonly query: Q;
  readonly headers: H;
  readonly body: B;
  /** Aborted when the server ends. */
  readonly signal: AbortSignal;
}

/** What one answer holds. */
export interface Answered {
  readonly text: string;
  /** JSON of this form; null for none, or for bytes. */
  readonly schema: z.ZodType | null;
  readonly type?: string;
}

interface Described {
  readonly id: string;
  readonly method: "GET" | "POST";
  /** As OpenAPI writes it: `/v1/runs/{run}`. */
  readonly path: string;
  readonly summary: string;
  /** Null where any token will do; `public` where none is needed. */
  readonly scope: ApiScope | "public" | null;
  /** True for what costs much: it has a limit of its own. */
  readonly isHeavy?: true;
  /** True for what may be answered after minutes. */
  readonly isSlow?: true;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly headers?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answers: Readonly<Record<number, Answered>>;
}

export interface Route extends Described {
  answer(
    services: ApiServices,
    caller: Caller,
    raw: RawRequest,
    signal: AbortSignal,
  ): Promise<Reply>;
}

type Out<T> = T extends z.ZodType ? z.output<T> : undefined;

interface Definition<P, Q, H, B> extends Described {
  readonly params?: P & z.ZodObject;
  readonly query?: Q & z.ZodObject;
  readonly headers?: H & z.ZodObject;
  readonly body?: B & z.ZodType;
  readonly handle: (asked: Asked<Out<P>, Out<Q>, Out<H>, Out<B>>) => Promise<Reply>;
}

/** A route whose handler sees only what was checked. */
export function defineRoute<P = undefined, Q = undefined, H = undefined, B = undefined>(
  definition: Definition<P, Q, H, B>,
): Route {
  const { handle, ...described } = definition;
  const { params, query, headers, body } = described;
  return {
    ...described,
    // What cannot be parsed as an identifier is none of anything that there is.
    answer: async (services, caller, raw, signal) =>
      handle({
        services,
        caller,
        signal,
        params: checked(params, raw.params, "the path", "ERR_HTTP_NOT_FOUND") as Out<P>,
        query: checked(query, raw.query, "the query", "ERR_HTTP_REQUEST") as Out<Q>,
        headers: checked(
          headers,
          picked(headers, raw.headers),
          "the headers",
          "ERR_HTTP_REQUEST",
        ) as Out<H>,
        body: checked(body, raw.body, "the body", "ERR_HTTP_REQUEST") as Out<B>,
      }),
  };
}

function checked(
  format: z.ZodType | undefined,
  value: unknown,
  what: string,
  code: ErrorCode,
): unknown {
  return format === undefined ? undefined : parseFormat(format, value, what, code);
}

/** The headers that a route reads, and no others. */
function picked(format: z.ZodObject | undefined, headers: IncomingHttpHeaders): object {
  const names = Object.keys(format?.shape ?? {});
  return Object.fromEntries(
    names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
  );
}
