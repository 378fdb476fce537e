import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";

export interface EmailInput {
  readonly server: string;
  readonly tls: "starttls" | "implicit" | "none";
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly from: string;
  readonly to: string;
  readonly reply_to?: string | undefined;
  readonly subject: string;
  readonly text: string;
  readonly html?: string | undefined;
}

const TRIES_MAX = 3;
const WAIT_MS = 2000;

/** A server that says "not now" has not taken the message, so it is asked again. */
export async function runEmailSend(input: EmailInput, call: HostCall): Promise<HostEnd> {
  const { server, tls, user, password, from, to, reply_to, subject, text, html } = input;
  const message_id = `<${call.idempotencyKey.slice(0, 40)}@${from.slice(from.indexOf("@") + 1)}>`;
  const login = user === undefined || password === undefined ? null : { user, password };
  for (let tries = 1; ; tries++) {
    const { code, text: said } = await call.mail({
      ...{ server, tls, login },
      message: {
        ...{ from, to, subject, text, message_id },
        html: html ?? null,
        reply_to: reply_to ?? null,
      },
    });
    if (code < 400) return { value: { message_id, response: said } };
    if (code >= 500 || tries >= TRIES_MAX) {
      throw new SkillFailure(`${server} does not take the message: ${code}`);
    }
    await call.wait(WAIT_MS);
  }
}
