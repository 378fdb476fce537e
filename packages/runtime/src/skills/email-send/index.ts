import { z } from "zod";
import { secretField } from "../secret-field.ts";
import { defineSkill } from "../skill.ts";
import { serverName } from "../host-name.ts";
import { runEmailSend } from "./run.ts";

/** One address and nothing else: no name, no list, no group. */
const address = z
  .string()
  .max(254)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,180}[A-Za-z0-9])?$/,
    "expected one address, such as ann@example.org",
  );
const line = z
  .string()
  .max(500)
  .regex(/^[^\0-\x1f\x7f]*$/, "expected one line of text");

const input = z
  .strictObject({
    server: serverName,
    /** Off is for this machine alone. */
    tls: z.enum(["starttls", "implicit", "none"]).default("starttls"),
    user: z.string().min(1).max(200).optional(),
    password: secretField.optional(),
    from: address,
    /** One: policy is asked about it. */
    to: address,
    reply_to: address.optional(),
    subject: line,
    text: z.string().max(20_000),
    html: z.string().max(20_000).optional(),
  })
  .refine(
    ({ user, password }) => (user === undefined) === (password === undefined),
    "expected user and password, or neither",
  );

/** A message by SMTP. Nobody can take one back, or knows a key by which it would come once. */
export const emailSend = defineSkill({
  name: "email_send",
  version: "1.0.0",
  text: "Send an e-mail to one address, by SMTP.",
  input,
  output: z.strictObject({ message_id: z.string(), response: z.string().max(500) }),
  reversible: false,
  secrets: ["password"],
  repeat: () => "unsafe",
  resource: ({ server, to }) => `${server}/${to.toLowerCase()}`,
  hosts: ({ server }) => [server],
  run: runEmailSend,
});
