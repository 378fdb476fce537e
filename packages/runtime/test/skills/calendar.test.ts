import { expect, it } from "vitest";
import { findSkill } from "../../src/skills/index.ts";

const takes = (url: string): boolean => {
  const event = { summary: "s", start: "2026-01-01T00:00:00Z", end: "2026-01-01T01:00:00Z" };
  const given = { url, event, user: "ann", password: "${{ secrets.CAL }}" };
  return findSkill("calendar_write").input.safeParse(given).success;
};

it("takes an address of a calendar", () => {
  expect(takes("https://cal.example.org/cal/alice/my%20diary/")).toBe(true);
});

// Policy is asked about the path: `…/cal/alice/*` would match each of these.
it.each([
  "..%2fbob",
  "..%2Fbob",
  "..%5cbob",
  "%2e%2e/bob",
  ".%2E/bob",
  "..%252fbob",
  "a%00b",
  "a%0db",
])("takes no path that a server could read as another: %s", (path) => {
  expect(takes(`https://cal.example.org/cal/alice/${path}`)).toBe(false);
});
