import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { GatewayProcess } from "../../src/gateway/index.ts";
import { systemEntropy } from "../../src/system/index.ts";

it("says so where the gateway cannot be started", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sov-gateway-"));
  const started = GatewayProcess.start({
    command: [process.execPath, "-e", "process.exit(1)"],
    home: folder,
    socket: join(folder, "gateway.sock"),
    environment: {},
    owner: { tenant_id: "acme", run_id: "run_00000000000000000000" },
    entropy: systemEntropy,
  });
  await expect(started).rejects.toMatchObject({ code: "ERR_SKILL_GATEWAY" });
  rmSync(folder, { recursive: true, force: true });
});
