import type { AddressInfo } from "node:net";
import type { JsonObject } from "@sovereign/core";
import { SMTPServer } from "smtp-server";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { certify } from "../support/certificate.ts";
import { filesWith } from "../support/secret-search.ts";
import { openSkillRig, type SkillRig } from "../support/skill-rig.ts";

const AT = "2026-11-29T00:00:00.000Z";
const CANARY = "canary-77ab-mail-09";

let rig: SkillRig;
let smtp: SMTPServer;
let server: string;
let taken: { from: string; to: string; text: string; login: unknown }[] = [];
let refusal: (() => Error | null) | null = null;
let silent = false;

function refused(responseCode: number): Error {
  return Object.assign(new Error(`no, for ${CANARY}`), { responseCode });
}

beforeAll(async () => {
  rig = await openSkillRig();
  const { keyPem, certPem } = certify("localhost", null);
  smtp = new SMTPServer({
    key: keyPem,
    cert: certPem,
    allowInsecureAuth: true,
    authOptional: false,
    onAuth: ({ username, password }, _, done) => {
      if (username === "bot" && password === CANARY) done(null, { user: `${username}:ok` });
      else done(new Error("Invalid username or password"));
    },
    onRcptTo: (_, __, done) => {
      done(refusal?.() ?? null);
    },
    onData: (stream, session, done) => {
      let text = "";
      stream.on("data", (part) => (text += String(part)));
      stream.on("end", () => {
        if (silent) return;
        const { mailFrom, rcptTo } = session.envelope;
        const from = mailFrom === false ? "" : mailFrom.address;
        taken.push({
          from,
          to: rcptTo.map(({ address }) => address).join(),
          text,
          login: session.user,
        });
        done(null, `taken from ${CANARY}`);
      });
    },
  });
  await new Promise<void>((resolve) =>
    smtp.listen(0, "127.0.0.1", () => {
      resolve();
    }),
  );
  server = `127.0.0.1:${(smtp.server.address() as AddressInfo).port}`;
  await rig.secrets.set({ name: "SMTP", hosts: [server], value: CANARY }, AT);
  await rig.secrets.set({ name: "WRONG", hosts: [server], value: "another-password" }, AT);
});
afterAll(async () => {
  smtp.close();
  await rig.close();
});
beforeEach(() => {
  taken = [];
  refusal = null;
  silent = false;
});
afterEach(() => {
  expect(filesWith(rig.folder, CANARY, ["/secrets/"])).toEqual([]);
});

const given = (more: JsonObject = {}): JsonObject => ({
  server,
  tls: "none",
  user: "bot",
  password: "${{ secrets.SMTP }}",
  from: "bot@example.org",
  to: "Ann@example.org",
  subject: "Report",
  text: "The report is done.",
  ...more,
});

it("sends a message, and what the server repeats is masked", async () => {
  const result = await rig.perform("email_send", given());
  expect(taken).toMatchObject([
    { from: "bot@example.org", to: "Ann@example.org", login: "bot:ok" },
  ]);
  expect(taken[0]?.text).toContain("The report is done.");
  const text = JSON.stringify(result);
  expect(text).toContain("[secret SMTP]");
  expect(text).not.toContain(CANARY);
});

it("tries again where the server says that it is busy, and sends it once", async () => {
  let times = 0;
  refusal = () => (times++ < 1 ? refused(451) : null);
  expect(await rig.codeOf("email_send", given(), { timeoutMs: 30_000 })).toBe("completed");
  expect(taken).toHaveLength(1);
});

it("fails where the server refuses, or the password is wrong", async () => {
  refusal = () => refused(550);
  const failed: unknown = await rig.perform("email_send", given()).catch((one: unknown) => one);
  expect(failed).toMatchObject({ code: "ERR_SKILL_FAILED" });
  expect(String(failed)).not.toContain(CANARY);
  const wrong = given({ password: "${{ secrets.WRONG }}" });
  expect(await rig.codeOf("email_send", wrong)).toBe("ERR_SKILL_FAILED");
});

it("says that nobody knows where the server falls silent after the message", async () => {
  silent = true;
  expect(await rig.codeOf("email_send", given(), { timeoutMs: 2000 })).toBe("ERR_OUTCOME_UNKNOWN");
});

it("trusts no certificate that nobody vouches for", async () => {
  expect(await rig.codeOf("email_send", given({ tls: "starttls" }))).toBe("ERR_SKILL_FAILED");
  expect(taken).toEqual([]);
});

it("sends no password without TLS to another machine", async () => {
  const elsewhere = "mail.example.org:2525";
  await rig.secrets.set({ name: "FAR", hosts: [elsewhere], value: CANARY }, AT);
  const far = given({ server: elsewhere, password: "${{ secrets.FAR }}" });
  expect(await rig.codeOf("email_send", far)).toBe("ERR_SECRET_DENIED");
});

it.each([
  { to: "ann@example.org, eve@example.org" },
  { to: "Ann <ann@example.org>" },
  { subject: "a\r\nBcc: eve@example.org" },
  { password: CANARY },
])("does not take %j", async (more) => {
  expect(await rig.codeOf("email_send", given(more))).toBe("ERR_SKILL_INPUT");
});
