import { z } from "zod";
import { hostOf, plainUrl } from "../host-name.ts";
import { secretField } from "../secret-field.ts";
import { defineSkill } from "../skill.ts";
import { runCalendarWrite } from "./run.ts";

const time = z.iso.datetime({ offset: true });
const line = z
  .string()
  .max(1000)
  .regex(/^[^\0-\x08\x0b\x0c\x0e-\x1f\x7f]*$/, "expected a text without control characters");

/** Policy is asked about the path as it is written: a server could read these as other folders. */
const OTHER_PATH = /%(?:2[ef5]|5c|[01][0-9a-f]|7f)/i;

const input = z.strictObject({
  /** The collection: the calendar's own address. */
  url: plainUrl
    .refine((url) => !/[?#]/.test(url), "expected no ? and no #")
    .refine((url) => !OTHER_PATH.test(url), "expected no . / % or \\ that is percent-encoded"),
  event: z
    .strictObject({
      uid: z
        .string()
        .regex(/^[A-Za-z0-9][A-Za-z0-9@._-]{0,120}$/)
        .optional(),
      summary: line.min(1),
      start: time,
      end: time,
      description: line.optional(),
      location: line.optional(),
    })
    .refine(
      ({ start, end }) => Date.parse(start) <= Date.parse(end),
      "expected an end after the start",
    ),
  /** Write over the event that is there. */
  replace: z.boolean().default(false),
  user: z.string().regex(/^[\x20-\x39\x3b-\x7e]{1,200}$/),
  password: secretField,
});

/** An event in a calendar, by CalDAV. */
export const calendarWrite = defineSkill({
  name: "calendar_write",
  version: "1.0.0",
  text: "Write an event to a calendar, by CalDAV.",
  input,
  output: z.strictObject({
    uid: z.string(),
    url: z.string(),
    etag: z.string().nullable(),
  }),
  reversible: true,
  secrets: ["password"],
  repeat: () => "safe",
  resource: ({ url }) => `${hostOf(url)}${new URL(url).pathname}`,
  hosts: ({ url }) => [hostOf(url)],
  run: runCalendarWrite,
});
