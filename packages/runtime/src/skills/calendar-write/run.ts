import { addressBelow } from "../inside/address.ts";
import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";
import { calendarOf, type CalendarEvent } from "./calendar.ts";

export interface CalendarInput {
  readonly url: string;
  readonly event: CalendarEvent & { readonly uid?: string | undefined };
  readonly replace: boolean;
  readonly user: string;
  readonly password: string;
}

/**
 * One event as one resource of a CalDAV collection. Without `replace` it is written where nothing
 * stands; the same step again finds what it wrote before.
 *
 * @see RFC 4791 §5.3.2
 */
export async function runCalendarWrite(input: CalendarInput, call: HostCall): Promise<HostEnd> {
  const { url: collection, event, replace, user, password } = input;
  const uid = event.uid ?? `${call.idempotencyKey.slice(0, 40)}@sovereign`;
  const url = addressBelow(collection, `${encodeURIComponent(uid)}.ics`);
  const basic = { user, password };
  const { status, headers } = await call.http({
    url,
    method: "PUT",
    headers: {
      "content-type": "text/calendar; charset=utf-8",
      ...(replace ? {} : { "if-none-match": "*" }),
    },
    basic,
    body: Buffer.from(calendarOf(uid, event, call.now())),
    isUnsafe: false,
  });
  const value = { uid, url, etag: headers["etag"] ?? null };
  if (status === 200 || status === 201 || status === 204) return { value };
  // Of an identifier of our own, only an earlier attempt can have written it.
  if (status === 412 && event.uid === undefined) return { value };
  const why =
    status === 412
      ? ": an event with this uid is there already. To write over it: replace: true"
      : status === 401
        ? ": the password is not accepted"
        : "";
  throw new SkillFailure(`${new URL(url).host} answered ${status}${why}`);
}
