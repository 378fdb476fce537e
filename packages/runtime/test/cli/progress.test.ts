import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createOutput } from "../../src/cli/output.ts";
import { showProgress } from "../../src/cli/progress.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("says that work goes on where nothing was told for a while, and not before", () => {
  const said: string[] = [];
  const output = { ...createOutput(false), note: (text: string) => said.push(text) };
  const show = showProgress(output);
  vi.advanceTimersByTime(60_000);
  expect(said).toEqual([]);
  show({ event: "step.started", step: "one", operations: 1 });
  vi.advanceTimersByTime(14_000);
  show({ event: "step.unchanged", step: "one" });
  vi.advanceTimersByTime(14_000);
  expect(said).toHaveLength(2);
  vi.advanceTimersByTime(17_000);
  expect(said.slice(2)).toEqual(["     … at work for 15 s", "     … at work for 30 s"]);
});
