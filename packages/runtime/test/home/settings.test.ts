import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Environment, Settings, type Setting } from "../../src/home/index.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "sov-settings-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

const file = (text: string): void => {
  writeFileSync(join(home, "config.yaml"), text, { mode: 0o600 });
};
const setting = (
  name: string,
  environment: Environment = {},
): { value: unknown; source: Setting["source"] | undefined } => {
  const { value, source } =
    Settings.of(home, environment)
      .list()
      .find((one) => one.name === name) ?? {};
  return { value, source };
};

describe("a setting", () => {
  it("is the environment's, else the file's, else the default", () => {
    expect(setting("database.url")).toEqual({ value: null, source: "default" });
    file("database: { url: postgres://from-file/db }\nscram: { linger_seconds: 5 }\n");
    expect(setting("database.url").source).toBe("config.yaml");
    expect(setting("scram.linger_seconds")).toEqual({ value: 5, source: "config.yaml" });
    expect(setting("scram.lease_ms")).toEqual({ value: 2000, source: "default" });
    const environment = { DATABASE_URL: "postgres://from-environment/db" };
    expect(setting("database.url", environment).source).toBe("environment");
    expect(Settings.of(home, environment).databaseUrl).toBe(environment.DATABASE_URL);
    expect(Settings.of(home, { DATABASE_URL: "" }).databaseUrl).toBe("postgres://from-file/db");
  });

  it("shows no password, wherever it stands", () => {
    for (const url of [
      "postgres://me:hunter2@host/db",
      "postgres://host/db?password=hunter2",
      "host=h password=hunter2",
    ]) {
      expect(JSON.stringify(Settings.of(home, { DATABASE_URL: url }).list())).not.toContain(
        "hunter2",
      );
    }
  });

  it.each([
    "surprise: 1",
    "database: { url: 1 }",
    "database: { host: h }",
    "scram: { more: 1 }",
    "keys: { enrol: maybe }",
  ])("that nobody knows is refused: %s", (text) => {
    file(text);
    const settings = Settings.of(home, {});
    expect(() => settings.list()).toThrow(/config.yaml|scram/);
    expect(() => settings.databaseUrl).toThrow();
    expect(settings.switchDatabaseUrl).toBeNull();
  });
});
