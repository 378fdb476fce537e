import { SovereignError } from "@sovereign/core";
import { parseHost } from "../policy/index.ts";
import { exchange, fillHttp, type HttpAnswer } from "./http.ts";
import type { MailAnswer } from "./mail.ts";
import type { PostgresAnswer } from "./postgres.ts";
import type { GatewayAsk } from "./protocol.ts";
import type { SecretPlaces } from "./secrets-in.ts";
import type { Wire } from "./wire.ts";

export type Carried = HttpAnswer | MailAnswer | PostgresAnswer;

/** Where a request wants to go. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** True where nobody on the way reads it. */
  readonly isProtected: boolean;
}

/** @throws ERR_SKILL_INPUT, ERR_HOST_REFUSED */
export function targetOf(ask: GatewayAsk): Target {
  if (ask.kind !== "http") {
    const { name, port } = parseHost(ask.server);
    return { host: name, port: Number(port ?? "443"), isProtected: ask.tls !== "none" };
  }
  const url = urlOf(ask.url);
  const isSecure = url.protocol === "https:";
  const port = url.port === "" ? (isSecure ? 443 : 80) : Number(url.port);
  return { host: url.hostname, port, isProtected: isSecure };
}

/**
 * Put the secrets into a request. The libraries for mail and PostgreSQL are loaded by the first that
 * needs them: most runs have none, and each starts a gateway.
 *
 * @returns what makes it
 * @throws ERR_SECRET_UNKNOWN, ERR_SECRET_DENIED, ERR_SKILL_INPUT
 */
export async function carryOut(
  ask: GatewayAsk,
  { host: named, port }: Target,
  places: SecretPlaces,
): Promise<(wire: Wire) => Promise<Carried>> {
  const host = named.replace(/^\[(.*)\]$/, "$1");
  switch (ask.kind) {
    case "http": {
      const filled = await fillHttp(ask, urlOf(ask.url), places);
      return (wire) => exchange(filled, wire, places);
    }
    case "mail": {
      const { fillMail, sendMail } = await import("./mail.ts");
      const filled = await fillMail(ask, host, places);
      return (wire) => sendMail(filled, port, wire, places);
    }
    case "postgres": {
      const { fillQuery, query } = await import("./postgres.ts");
      const filled = await fillQuery(ask, host, places);
      return (wire) => query(filled, port, wire, places);
    }
  }
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (url !== null && isHttp && url.username === "" && url.password === "") return url;
  const said = "expected http:// or https://, without a user";
  throw new SovereignError("ERR_SKILL_INPUT", `The gateway does not take this address: ${said}.`);
}
