import { describe, expect, it } from "vitest";
import { settingOf } from "../../src/sandbox/tools/found.ts";

describe("a setting of a small file", () => {
  it.each([
    ['channel = "1.79"', "1.79"],
    ["  channel=nightly  # so", "nightly"],
    ['[toolchain]\nchannels = "no"\nchannel = "stable" # "\n', "stable"],
    ["home = /usr/local/bin\r\nversion = 3.12.1\r\n", null],
    ["channel =\nother = 1\n", null],
    ['channel = "', null],
    ['channel = a"b', null],
    ["channel", null],
  ])("of %j is %j", (text, value) => {
    expect(settingOf(text, "channel")).toBe(value);
  });

  it.each([
    ["room in a value", `channel = a${" ".repeat(65_000)}"b`],
    ["lines without anything", "\n".repeat(65_000)],
    ["both", `${"\n".repeat(30_000)}channel = a${" ".repeat(30_000)}"b`],
    ["room everywhere", `channel${" ".repeat(20_000)}=${" ".repeat(20_000)}#`],
  ])("is looked for once, whoever wrote the file: %s", (_, text) => {
    const before = performance.now();
    expect(settingOf(text, "channel")).toBeNull();
    expect(performance.now() - before).toBeLessThan(500);
  });
});
