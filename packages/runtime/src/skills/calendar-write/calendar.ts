/** An event with its times as RFC 3339 has them. */
export interface CalendarEvent {
  readonly summary: string;
  readonly start: string;
  readonly end: string;
  readonly description?: string | undefined;
  readonly location?: string | undefined;
}

/** One event as iCalendar. @see RFC 5545 */
export function calendarOf(uid: string, event: CalendarEvent, at: Date): string {
  const { summary, description, location, start, end } = event;
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//Sovereign//calendar_write//EN",
    "BEGIN:VEVENT",
    `UID:${uid}`,
    `DTSTAMP:${timeOf(at)}`,
    `DTSTART:${timeOf(new Date(start))}`,
    `DTEND:${timeOf(new Date(end))}`,
    `SUMMARY:${escaped(summary)}`,
    ...(description === undefined ? [] : [`DESCRIPTION:${escaped(description)}`]),
    ...(location === undefined ? [] : [`LOCATION:${escaped(location)}`]),
    "END:VEVENT",
    "END:VCALENDAR",
  ];
  return `${lines.map(folded).join("\r\n")}\r\n`;
}

/** In UTC, so that no time zone has to be described. */
function timeOf(at: Date): string {
  return at.toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
}

/** @see RFC 5545 §3.3.11 */
function escaped(text: string): string {
  return text
    .replaceAll("\\", "\\\\")
    .replaceAll(";", "\\;")
    .replaceAll(",", "\\,")
    .replaceAll(/\r\n|\r|\n/g, "\\n");
}

/** Lines have at most 75 bytes, and no character is cut. @see RFC 5545 §3.1 */
function folded(line: string): string {
  const parts: string[] = [];
  let part = "";
  for (const character of line) {
    if (Buffer.byteLength(part + character) > (parts.length === 0 ? 75 : 74)) {
      parts.push(part);
      part = "";
    }
    part += character;
  }
  return [...parts, part].join("\r\n ");
}
