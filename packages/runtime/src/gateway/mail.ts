import { connect, isIP, type Socket } from "node:net";
import { SovereignError } from "@sovereign/core";
import { createTransport } from "nodemailer";
import { countBytes } from "./wire.ts";
import { quotable } from "./mask.ts";
import type { MailAsk } from "./protocol.ts";
import type { SecretPlaces } from "./secrets-in.ts";
import type { Wire } from "./wire.ts";

const TIME_MS = 60_000;

/** What a server says of a message: below 400 it took it. */
export interface MailAnswer {
  readonly code: number;
  readonly text: string;
}

/** A message whose secrets are in their places. */
export interface FilledMail {
  readonly ask: MailAsk;
  readonly host: string;
  readonly login: { readonly user: string; readonly pass: string } | null;
}

/** @throws ERR_SECRET_UNKNOWN, ERR_SECRET_DENIED */
export async function fillMail(
  ask: MailAsk,
  host: string,
  places: SecretPlaces,
): Promise<FilledMail> {
  if (ask.login === null) return { ask, host, login: null };
  const { user, password } = ask.login;
  return {
    ask,
    host,
    login: { user: await places.fill(user), pass: await places.fill(password) },
  };
}

/** Send one message to one address of a server. */
export async function sendMail(
  { ask, host, login }: FilledMail,
  port: number,
  wire: Wire,
  places: SecretPlaces,
): Promise<MailAnswer> {
  const { tls, message } = ask;
  let socket: Socket | null = null;
  const transport = createTransport({
    host,
    port,
    secure: tls === "implicit",
    requireTLS: tls === "starttls",
    ignoreTLS: tls === "none",
    tls: isIP(host) === 0 ? { servername: host } : { host },
    ...(login === null ? {} : { auth: login }),
    disableFileAccess: true,
    disableUrlAccess: true,
    connectionTimeout: TIME_MS,
    greetingTimeout: TIME_MS,
    socketTimeout: TIME_MS,
    // The address that was looked at, whatever the name leads to now.
    getSocket: (
      _options: unknown,
      done: (error: Error | null, given: { connection: Socket } | false) => void,
    ) => {
      socket = connect({ host: wire.address, port, signal: wire.signal });
      countBytes(socket, wire);
      socket.once("connect", () => {
        done(null, { connection: socket as Socket });
      });
      socket.once("error", (error) => {
        done(error, false);
      });
    },
  });
  try {
    const { from, to, subject, text, html, reply_to: replyTo, message_id: messageId } = message;
    const { response } = (await transport.sendMail({
      ...{ from, to, subject, text, messageId },
      ...(html === null ? {} : { html }),
      ...(replyTo === null ? {} : { replyTo }),
    })) as { readonly response?: string };
    return { code: 250, text: quotable(response ?? "", places.used) };
  } catch (error) {
    return judge(error, places);
  } finally {
    transport.close();
    (socket as Socket | null)?.destroy();
  }
}

/**
 * A server that refuses has not taken the message. Where none answered after the message was on its
 * way, nobody knows.
 */
function judge(error: unknown, places: SecretPlaces): MailAnswer {
  const { responseCode, response, command, code } = error as {
    responseCode?: number;
    response?: string;
    command?: string;
    code?: string;
  };
  if (typeof responseCode === "number" && responseCode >= 400) {
    return { code: responseCode, text: quotable(response ?? "", places.used) };
  }
  const said = typeof code === "string" && /^[A-Z_0-9]{1,40}$/.test(code) ? code : "it failed";
  const onItsWay = command === "DATA" || command === undefined;
  // A connection that could not be made safe, and a login that failed, carried no message.
  const early = /CERT|TLS|SSL|SIGNED|ISSUER|AUTH|^(EDNS|EENVELOPE|ECONNREFUSED)$/.test(said);
  const details = { mayHaveHappened: onItsWay && !early };
  throw new SovereignError("ERR_SKILL_FAILED", `the mail server did not answer: ${said}`, details);
}
