import { request } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * What a skill has while it runs in the sandbox. It needs no module of ours, has no network but the
 * gateway's socket, and holds no secret: what it sends refers to secrets by their names.
 */
export interface HostCall {
  /** The same for every attempt of the step. */
  readonly idempotencyKey: string;
  /** @throws SkillFailure */
  http(ask: HttpAsk): Promise<HttpAnswer>;
  /** Send one message. A refusal of the server is an answer. @throws SkillFailure */
  mail(ask: MailAsk): Promise<MailAnswer>;
  /** @throws SkillFailure */
  postgres(ask: PostgresAsk): Promise<unknown>;
  /** How the vendor of the step's model is spoken to; empty where it has none. */
  readonly modelWire: string;
  /** Ask the step's model, through the model proxy. */
  model(path: string, body: object): Promise<Pick<HttpAnswer, "status" | "bytes">>;
  now(): Date;
  wait(ms: number): Promise<void>;
  /** A library that the host was given. */
  library(name: string): unknown;
}

export interface HttpAsk {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly basic?: { readonly user: string; readonly password: string };
  readonly webhook?: { readonly id: string; readonly secret: string };
  readonly body: Uint8Array | null;
  /** True for what must not happen twice: then it is said where it may have happened. */
  readonly isUnsafe: boolean;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
}

export interface MailAsk {
  readonly server: string;
  readonly tls: "starttls" | "implicit" | "none";
  readonly login: { readonly user: string; readonly password: string } | null;
  readonly message: Readonly<Record<"from" | "to" | "subject" | "text" | "message_id", string>> &
    Readonly<Record<"html" | "reply_to", string | null>>;
}

/** What the server says: below 400 it took the message. */
export interface MailAnswer {
  readonly code: number;
  readonly text: string;
}

export interface PostgresAsk {
  readonly server: string;
  readonly database: string;
  readonly tls: "require" | "none";
  readonly login: { readonly user: string; readonly password: string };
  readonly sql: string;
  readonly values: readonly (string | number | boolean | null)[];
  readonly max_rows: number;
  readonly read_only: boolean;
  readonly isUnsafe: boolean;
}

/** Bytes that become an artifact of the step. */
export interface Kept {
  readonly name: string;
  readonly type: string;
  readonly bytes: Uint8Array;
}

export interface HostEnd {
  readonly value: unknown;
  readonly keep?: readonly Kept[];
}

/** What a skill does in the sandbox. @param input as its schema gives it */
export type HostRun<I> = (input: I, call: HostCall) => Promise<HostEnd>;

/** Why a skill failed: a code of ours, and a text that stands in the ledger. */
export class SkillFailure extends Error {
  readonly code: string;

  constructor(text: string, code = "ERR_SKILL_FAILED") {
    super(text);
    this.code = code;
  }
}

/** What the gateway says. */
type Said =
  | { readonly ok: true; readonly answer: unknown }
  | {
      readonly ok: false;
      readonly code: string;
      readonly text: string;
      readonly mayHaveHappened: boolean;
    };

export interface CallParts {
  readonly idempotencyKey: string;
  /** The gateway's socket; empty for a host without a network. */
  readonly gateway: string;
  readonly token: string;
  readonly model: { readonly socket: string; readonly wire: string } | null;
  readonly library: (name: string) => unknown;
}

export function createCall(parts: CallParts): HostCall {
  const { idempotencyKey, gateway, token, model, library } = parts;
  const ask = async (question: object, isUnsafe: boolean): Promise<unknown> => {
    const said = await exchange(gateway, { ...question, token });
    if (said.ok) return said.answer;
    if (!said.mayHaveHappened || !isUnsafe) throw new SkillFailure(said.text, said.code);
    const text = `${said.text}; nobody knows whether it happened`;
    throw new SkillFailure(text, "ERR_OUTCOME_UNKNOWN");
  };
  return {
    idempotencyKey,
    library,
    mail: async (asked) => (await ask({ ...asked, kind: "mail" }, true)) as MailAnswer,
    postgres: ({ isUnsafe, ...rest }) => ask({ ...rest, kind: "postgres" }, isUnsafe),
    modelWire: model?.wire ?? "",
    model: (path, body) => askModel(model?.socket ?? "", token, path, body),
    now: () => new Date(),
    wait: (ms) => sleep(ms),
    http: async ({ isUnsafe, body, ...rest }) => {
      const sent = body === null ? null : Buffer.from(body).toString("base64");
      const found = await ask({ ...rest, kind: "http", body: sent }, isUnsafe);
      const {
        status,
        headers,
        body: came,
      } = found as {
        status: number;
        headers: Record<string, string>;
        body: string;
      };
      return { status, headers, bytes: Buffer.from(came, "base64") };
    },
  };
}

const MODEL_BYTES_MAX = 8 * 1024 * 1024;

function askModel(
  socketPath: string,
  token: string,
  path: string,
  body: object,
): Promise<{ status: number; bytes: Buffer }> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(JSON.stringify(body));
    const headers = {
      "content-type": "application/json",
      "content-length": bytes.length,
      "anthropic-version": "2023-06-01",
      authorization: `Bearer ${token}`,
    };
    const asked = request({ socketPath, path, method: "POST", headers }, (response) => {
      const parts: Buffer[] = [];
      let size = 0;
      response.on("data", (part: Buffer) => {
        size += part.length;
        if (size > MODEL_BYTES_MAX) response.destroy(new SkillFailure("the answer is too long"));
        parts.push(part);
      });
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(parts) });
      });
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end(bytes);
  });
}

function exchange(path: string, question: object): Promise<Said> {
  return new Promise((resolve, reject) => {
    if (path === "") {
      reject(new SkillFailure("this host has no network"));
      return;
    }
    const parts: Buffer[] = [];
    const socket = connect(path);
    socket.on("error", (error) => {
      reject(error);
    });
    socket.on("data", (part) => parts.push(Buffer.from(part)));
    socket.on("close", () => {
      try {
        resolve(JSON.parse(Buffer.concat(parts).toString("utf8")) as Said);
      } catch {
        // The gateway died: whoever asked is told that nobody knows.
        resolve({
          ok: false,
          code: "ERR_SKILL_FAILED",
          text: "the gateway is gone",
          mayHaveHappened: true,
        });
      }
    });
    socket.write(`${JSON.stringify(question)}\n`);
  });
}
