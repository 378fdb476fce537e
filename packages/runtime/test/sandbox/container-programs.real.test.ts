import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findContainerPrograms } from "../../src/sandbox/container-programs.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-programs-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the programs for containers", () => {
  it("are told apart: installed or not, driven or not, and why", async () => {
    const install = (name: string, says: string): void => {
      writeFileSync(join(folder, name), `#!/bin/sh\n${says}\n`, { mode: 0o755 });
    };
    install("podman", '[ "$1" = --version ] && echo podman version 4.3.1');
    install("crun", "printf 'crun version 1.8.1\\ncommit: x\\n'");
    const search = `${folder}:/usr/bin:/bin`;
    const [crun, podman] = await findContainerPrograms(search);
    expect(crun).toMatchObject({ name: "crun", version: "1.8.1", used: true });
    expect(podman).toMatchObject({ name: "podman", version: "4.3.1", used: false });
    expect(podman?.detail).toContain("outlives the engine");
  });

  it("that are not there are not used, and one that says nothing is", async () => {
    const none = await findContainerPrograms(folder);
    expect(none.map(({ name }) => name)).toEqual(["crun", "podman", "runc"]);
    expect(none.filter(({ used, version }) => used || version !== null)).toEqual([]);
    writeFileSync(join(folder, "crun"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    const [crun] = await findContainerPrograms(folder);
    expect(crun).toMatchObject({ used: true, version: "of a version that it does not say" });
  });
});
